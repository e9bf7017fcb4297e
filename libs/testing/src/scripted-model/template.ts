/** Values for templates: one string per `capture`, a list per `captureAll`. */
export type Captured = Readonly<Record<string, string | readonly string[]>>;

const TEMPLATE = /\$\$\{|\$\{([a-z][A-Za-z0-9]*)\}/g;

/**
 * The names a reply takes from captures: in `${name}` and `$each`, without the `${item}` that stands inside an `$each`.
 */
export function templateNames(value: unknown): Set<string> {
  const names = new Set<string>();
  collect(value, false, names);
  return names;
}

function collect(value: unknown, inEach: boolean, names: Set<string>): void {
  if (typeof value === 'string') {
    for (const [, name] of value.matchAll(TEMPLATE)) {
      if (name !== undefined && !(inEach && name === 'item')) names.add(name);
    }
  } else if (isEach(value)) {
    names.add(value.$each);
    collect(value.item, true, names);
  } else if (typeof value === 'object' && value !== null) {
    for (const inner of Object.values(value)) collect(inner, inEach, names);
  }
}

/** `value` with its templates filled in, everywhere but in the keys of objects. */
export function render(value: unknown, captured: Captured): unknown {
  if (typeof value === 'string') return renderText(value, captured);
  if (Array.isArray(value)) {
    return value.flatMap((inner: unknown) => (isEach(inner) ? renderEach(inner, captured) : [render(inner, captured)]));
  }
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, render(inner, captured)]));
}

/** `text` with its templates filled in; a list is joined with ", ". */
export function renderText(text: string, captured: Captured): string {
  return text.replace(TEMPLATE, (literal, name: string | undefined) => {
    if (name === undefined) return '${';
    const value = Object.hasOwn(captured, name) ? captured[name] : undefined;
    if (value === undefined) throw new Error(`template ${literal} has no value`);
    return typeof value === 'string' ? value : value.join(', ');
  });
}

function renderEach(each: Each, captured: Captured): unknown[] {
  const values = captured[each.$each] ?? [];
  return (typeof values === 'string' ? [values] : values).map((item) => render(each.item, { ...captured, item }));
}

interface Each {
  readonly $each: string;
  readonly item: unknown;
}

function isEach(value: unknown): value is Each {
  return (
    typeof value === 'object' &&
    value !== null &&
    '$each' in value &&
    typeof value.$each === 'string' &&
    'item' in value
  );
}
