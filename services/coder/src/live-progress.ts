import type { HeldStep } from '@plumbline/bus';
import type { Delta } from '@plumbline/model';

const everyMs = 1_000;

/** Tells whoever watches how far a turn is: what the model is doing, and how much it has written; at most once a second. */
export function liveProgress(
  step: HeldStep,
  turn: number,
): { onDelta: (delta: Delta) => void; tools: (names: string[]) => void } {
  const chars = { reasoning: 0, content: 0, 'tool-call': 0 };
  let toldAt = -Infinity;
  return {
    onDelta: (delta) => {
      chars[delta.kind] += delta.kind === 'tool-call' ? delta.arguments.length : delta.text.length;
      const now = performance.now();
      if (now - toldAt < everyMs) return;
      toldAt = now;
      step.live({ turn, doing: delta.kind, chars: { ...chars } });
    },
    tools: (names) => step.live({ turn, doing: 'tools', tools: names.slice(0, 20).map((name) => name.slice(0, 60)) }),
  };
}
