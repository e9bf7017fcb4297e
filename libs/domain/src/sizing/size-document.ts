import { z } from 'zod';
import { sizeSources } from './source-chain.js';

const bytes = z.int().min(0);

/**
 * `plumb size`. Sizes are bytes; `components` are before any margin and `total` is their sum with it. A refused model has neither, and no source: what
 * was tried and why it failed is in `chain`. `flags` are those under which the figures hold.
 */
export const sizeDocumentSchema = z
  .object({
    schema: z.literal('plumbline.size/1'),
    ok: z.boolean(),
    model: z.object({
      source: z.string(),
      format: z.enum(['gguf', 'safetensors']).nullable(),
      architecture: z.string().nullable(),
    }),
    source: z.enum(sizeSources).nullable(),
    confidence: z.enum(['exact', 'bounded', 'declared']).nullable(),
    total: bytes.nullable(),
    components: z
      .object({
        weights: bytes,
        kvCache: bytes,
        recurrentState: bytes,
        compute: bytes,
        host: bytes,
        projector: bytes,
        draft: bytes,
        overhead: bytes,
      })
      .nullable(),
    margin: bytes.nullable(),
    flags: z.array(z.string()),
    chain: z
      .array(
        z.object({
          source: z.enum(sizeSources),
          outcome: z.enum(['used', 'failed', 'skipped']),
          reason: z.string().min(1),
        }),
      )
      .min(1),
    refusal: z.object({ code: z.string().min(1), message: z.string().min(1) }).optional(),
  })
  .refine((document) => document.ok === (document.refusal === undefined) && document.ok === (document.total !== null), {
    path: ['refusal'],
    message: 'present exactly when ok is false, and then there is no total',
  });
export type SizeDocument = z.infer<typeof sizeDocumentSchema>;
