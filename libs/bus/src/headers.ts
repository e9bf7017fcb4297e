import { headers as natsHeaders, type MsgHdrs } from '@nats-io/transport-node';

/** Message headers as a NATS client or a test has them: names with their values; undefined for none. */
export type HeaderSource = Iterable<readonly [string, readonly string[]]> | undefined;

/**
 * All values of a header. NATS compares names exactly, the CloudEvents binding and most publishers do not, so case is
 * ignored. Empty if absent.
 */
export function headerValues(source: HeaderSource, name: string): string[] {
  const wanted = name.toLowerCase();
  const found: string[] = [];
  for (const [key, values] of source ?? []) if (key.toLowerCase() === wanted) found.push(...values);
  return found;
}

/** The first value of a header, case of the name ignored; undefined if absent. */
export function headerValue(source: HeaderSource, name: string): string | undefined {
  return headerValues(source, name)[0];
}

/** Headers as plain data, fit for JSON. */
export function headersToJson(source: HeaderSource): Record<string, string[]> {
  return Object.fromEntries([...(source ?? [])].map(([key, values]) => [key, [...values]]));
}

/**
 * Message headers of plain data, without those that steer the broker (`Nats-…`: a copied message id or expected sequence would
 * make it refuse the copy) and without names or values that cannot be written.
 */
export function headersFromJson(source: Readonly<Record<string, readonly string[]>>): MsgHdrs {
  const headers = natsHeaders();
  for (const [key, values] of Object.entries(source)) {
    if (/^nats-/i.test(key) || !/^[!-9;-~]+$/.test(key)) continue;
    for (const value of values) if (!/[\r\n]/.test(value)) headers.append(key, value);
  }
  return headers;
}
