const headChars = 5_000;
const tailChars = 5_000;

/** What the model is shown of a tool's answer: all of it, or its head and tail with a note of what is missing between. */
export function shown(text: string): string {
  if (text.length <= headChars + tailChars + 200) return text;
  const missing = text.length - headChars - tailChars;
  return `${text.slice(0, headChars)}\n… (${missing} characters left out here; ask for less) …\n${text.slice(-tailChars)}`.toWellFormed();
}
