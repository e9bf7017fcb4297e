import { parseJson, PROTOTYPE_KEYS } from '@plumbline/bus';
import { reviewSchema, type Review } from '@plumbline/domain';
import type { z } from 'zod';

/** What a model answered, item by item: what parsed, and what did not with the reason. */
export type Opinion = Omit<Review, 'seat' | 'model' | 'family'>;
export type Answer =
  { readonly ok: true; readonly opinion: Opinion } | { readonly ok: false; readonly problem: string };

const limits = { maxBytes: 2 << 20, maxDepth: 20, forbiddenKeys: PROTOTYPE_KEYS };
const malformedMax = 50;
const { decision: decisionSchema, clauses, findings, quotes } = reviewSchema.shape;

/**
 * Reads a review out of an answer: the whole text, or the inside of its only code fence, as one JSON object. Nothing is searched for in prose: an
 * object found there might be an example that is being discussed. An unknown decision is no review; any other item that does not
 * parse goes to `malformed` and takes nothing with it.
 */
export function readAnswer(text: string): Answer {
  const parsed = parseJson(Buffer.from(unfenced(text).toWellFormed()), limits);
  if (!parsed.ok) return { ok: false, problem: parsed.problem };
  const object = parsed.value;
  if (typeof object !== 'object' || object === null || Array.isArray(object))
    return { ok: false, problem: 'not a JSON object' };
  const fields = object as Record<string, unknown>;
  const decision = decisionSchema.safeParse(word(fields['decision']));
  if (!decision.success) return { ok: false, problem: `decision: expected ${decisionSchema.options.join(', ')}` };
  const malformed: string[] = [];
  const opinion = {
    decision: decision.data,
    clauses: items(fields, 'clauses', clauses.element, 100, malformed),
    findings: items(fields, 'findings', findings.element, 100, malformed),
    quotes: items(fields, 'quotes', quotes.element, 20, malformed),
  };
  const cut = malformed.length > malformedMax ? [`and ${malformed.length - malformedMax + 1} more`] : [];
  return { ok: true, opinion: { ...opinion, malformed: [...malformed.slice(0, malformedMax - cut.length), ...cut] } };
}

/** The text without leading thoughts, or what stands inside its code fence when there is exactly one. */
function unfenced(text: string): string {
  const thought = text.trimStart().startsWith('<think>') ? text.indexOf('</think>') : -1;
  const rest = thought < 0 ? text : text.slice(thought + '</think>'.length);
  const lines = rest.split('\n');
  const fences = lines.flatMap((line, index) => (/^\s*```\w*\s*$/.test(line) ? [index] : []));
  const [open, close] = fences;
  if (fences.length !== 2 || open === undefined || close === undefined) return rest.trim();
  return lines.slice(open + 1, close).join('\n');
}

function items<T>(
  fields: Record<string, unknown>,
  name: string,
  schema: z.ZodType<T>,
  max: number,
  malformed: string[],
): T[] {
  const list = fields[name];
  if (!Array.isArray(list)) {
    malformed.push(`${name}: ${list === undefined ? 'missing' : 'not a list'}`);
    return [];
  }
  if (list.length > max) malformed.push(`${name}: ${list.length} items; only the first ${max} are kept`);
  return list.slice(0, max).flatMap((item: unknown, index) => {
    const parsed = schema.safeParse(tidy(item));
    if (parsed.success) return [parsed.data];
    const [issue] = parsed.error.issues;
    const where = issue === undefined || issue.path.length === 0 ? '' : `.${issue.path.map(String).join('.')}`;
    malformed.push(`${name}[${index}]${where}: ${issue?.message ?? 'does not parse'}`.slice(0, 300));
    return [];
  });
}

/** An item in the spelling that the schema knows: null means absent, enumerated words may be written in another case or with underscores. */
function tidy(item: unknown): unknown {
  if (typeof item === 'string') return storable(item);
  if (typeof item !== 'object' || item === null || Array.isArray(item)) return item;
  const fields = Object.entries(item).filter(([, value]) => value !== null);
  return Object.fromEntries(
    fields.map(([name, value]) => {
      if (name === 'status' || name === 'severity' || name === 'side') return [name, word(value)];
      return [name, typeof value === 'string' ? storable(value) : value];
    }),
  );
}

const word = (value: unknown): unknown =>
  typeof value === 'string' ? value.trim().toLowerCase().replace(/[_ ]/g, '-') : value;

/** Text that an event can hold: well-formed, without control characters but line ends and tabs. */
export const storable = (text: string): string =>
  text.toWellFormed().replace(/[\u0000-\u0008\u000b-\u001f\u007f]/g, ' ');
