import { z } from 'zod';
import { noticeKinds } from './notice.js';

/** Where notices are posted to, as the operator writes it. */

const nameSchema = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,39}$/, 'a name of 1-40 of a-z 0-9 -')
  .refine((name) => name !== 'nats', 'another name: notices on NATS have this one');

const urlSchema = z
  .string()
  .max(2_000)
  .refine((url) => URL.canParse(url) && /^https?:$/.test(new URL(url).protocol), 'an http or https address')
  .refine(
    (url) => !URL.canParse(url) || new URL(url).username + new URL(url).password === '',
    'an address without a login in it',
  );

/** The form of Standard Webhooks: `whsec_` and 24 to 64 bytes in Base64. `openssl rand -base64 32` makes one. */
const secretSchema = z
  .string()
  .regex(
    /^whsec_(?:[A-Za-z0-9+/]{4}){8,22}(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/,
    'whsec_ and 24 to 64 bytes in Base64',
  )
  .refine((secret) => {
    const text = secret.slice('whsec_'.length).replace(/=+$/, '');
    const bytes = Math.floor((text.length * 3) / 4);
    return bytes >= 24 && bytes <= 64;
  }, 'whsec_ and 24 to 64 bytes in Base64');

export const webhookSchema = z.strictObject({
  /** What logs, metrics and reports call it: its address may be a secret. */
  name: nameSchema,
  url: urlSchema,
  secret: secretSchema,
  kinds: z
    .array(z.enum(noticeKinds))
    .min(1)
    .default([...noticeKinds]),
});
export type Webhook = z.infer<typeof webhookSchema>;

/** The document in PLUMB_WEBHOOKS. */
export const webhooksSchema = z
  .array(webhookSchema)
  .max(20)
  .superRefine((hooks, ctx) => {
    const names = new Set<string>();
    for (const [index, { name }] of hooks.entries()) {
      if (names.has(name)) ctx.addIssue({ code: 'custom', path: [index, 'name'], message: 'a name of its own' });
      names.add(name);
    }
  });
