/** An amount in whole cents. */
export type Cents = number;

/** `1234` as `12.34`; negative amounts carry a minus sign in front. */
export function formatCents(amount: Cents): string {
  const sign = amount < 0 ? '-' : '';
  const digits = String(Math.abs(amount)).padStart(3, '0');
  return `${sign}${digits.slice(0, -2)}.${digits.slice(-2)}`;
}

/** `12.34` or `12` in cents. Throws on anything else. */
export function parseCents(text: string): Cents {
  const match = /^(-?)(\d+)(?:\.(\d{2}))?$/.exec(text);
  if (match === null) throw new Error(`not an amount: ${text}`);
  const cents = Number(match[2]) * 100 + Number(match[3] ?? '0');
  return match[1] === '-' ? -cents : cents;
}
