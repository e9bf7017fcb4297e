import type { RecordedEvent } from '../events/catalogue.js';
import type { StepState, TaskState } from '../task/state.js';
import type { ReportModel } from './document.js';

interface Row {
  readonly steps: Set<string>;
  heldMs: number;
  prompt: number;
  completion: number;
  counted: number;
  notCounted: number;
}

/** Adds up what each model took in each seat of one task. Model and seat are those the step was given to, not what an answer says of itself. */
export class ModelCosts {
  private readonly byName = new Map<string, { model: string; seat: string; row: Row }>();

  /** Time in which a worker held a step that a model was seated for. */
  hold(step: StepState, lastedMs: number): void {
    const row = this.row(step);
    if (row === undefined) return;
    row.steps.add(step.id);
    row.heldMs += lastedMs;
  }

  /** An event that may say what an answer took; `state` is the task before it. */
  count(state: TaskState, event: RecordedEvent): void {
    if (event.type === 'turn.recorded') {
      const { step, tokens } = event.data;
      // No question has no tokens: a server that did not count is recorded as 0 and 0.
      const counted = tokens.prompt + tokens.completion > 0;
      this.add(state.steps[step], counted ? tokens : undefined);
    }
    if (event.type === 'review.concluded') this.add(state.steps[event.data.step], event.data.tokens);
    if (event.type === 'review.failed') this.add(state.steps[event.data.step], undefined);
  }

  /** By seat and model. */
  rows(): ReportModel[] {
    return [...this.byName]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, { model, seat, row }]) => ({
        model,
        seat,
        steps: row.steps.size,
        heldMs: row.heldMs,
        promptTokens: row.counted === 0 ? null : row.prompt,
        completionTokens: row.counted === 0 ? null : row.completion,
        answersCounted: row.counted,
        answersNotCounted: row.notCounted,
      }));
  }

  private add(step: StepState | undefined, tokens: { prompt: number; completion: number } | undefined): void {
    const row = step === undefined ? undefined : this.row(step);
    if (step === undefined || row === undefined) return;
    row.steps.add(step.id);
    if (tokens === undefined) {
      row.notCounted += 1;
      return;
    }
    row.prompt += tokens.prompt;
    row.completion += tokens.completion;
    row.counted += 1;
  }

  /** Undefined for a step that no model is seated for. */
  private row({ kind, seat, model }: StepState): Row | undefined {
    if (model === undefined || (kind !== 'coding' && kind !== 'review')) return undefined;
    const name = { model: model.name, seat: seat ?? 'coder' };
    const id = `${name.seat} ${name.model}`;
    const known = this.byName.get(id) ?? {
      ...name,
      row: { steps: new Set<string>(), heldMs: 0, prompt: 0, completion: 0, counted: 0, notCounted: 0 },
    };
    this.byName.set(id, known);
    return known.row;
  }
}
