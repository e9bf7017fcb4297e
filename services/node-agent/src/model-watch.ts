import type { OfferedModel } from '@plumbline/domain';
import type { EndpointFinding } from './endpoint-probe.js';

export const modelStates = ['ready', 'loading', 'unreachable', 'not-served', 'refused'] as const;
export type ModelState = (typeof modelStates)[number];

/** What is known of one offered model; `why` is empty when it is ready. */
export interface ModelFinding {
  readonly model: OfferedModel;
  readonly state: ModelState;
  readonly why: string;
}

const MAX_WHY_LENGTH = 500;

/** Watches the offered models: asks every endpoint, and tells what differs from what was last recorded. */
export class ModelWatch {
  readonly #recorded = new Map<string, ModelState>();

  constructor(
    private readonly models: readonly OfferedModel[],
    private readonly probe: (endpoint: string) => Promise<EndpointFinding>,
  ) {}

  /** One round: each endpoint is asked once, however many models it serves. */
  async round(): Promise<ModelFinding[]> {
    const endpoints = [...new Set(this.models.map(({ endpoint }) => endpoint))];
    const asked = endpoints.map(async (endpoint) => [endpoint, await this.probe(endpoint)] as const);
    const findings = new Map(await Promise.all(asked));
    return this.models.flatMap((model) => {
      const finding = findings.get(model.endpoint);
      return finding === undefined ? [] : [judge(model, finding)];
    });
  }

  /** Those in another state than recorded, and those never recorded. Asking again changes nothing. */
  changed(findings: readonly ModelFinding[]): ModelFinding[] {
    return findings.filter(({ model, state }) => this.#recorded.get(model.name) !== state);
  }

  /** To be called once the findings are safe: what could not be recorded is a change again in the next round. */
  recorded(findings: readonly ModelFinding[]): void {
    for (const { model, state } of findings) this.#recorded.set(model.name, state);
  }
}

/** A server that answers under another name does not serve the model: who reviews what is decided by names and families. */
function judge(model: OfferedModel, finding: EndpointFinding): ModelFinding {
  if (finding.outcome !== 'serves') return { model, state: finding.outcome, why: printable(finding.why) };
  if (finding.names.includes(model.name)) return { model, state: 'ready', why: '' };
  const names = finding.names.slice(0, 5).map((name) => JSON.stringify(name.slice(0, 60)));
  const others = names.length === 0 ? 'no model' : names.join(', ');
  const why = `${model.endpoint} serves ${others}, not ${model.name}; start the server with that alias, or offer it by its own name`;
  return { model, state: 'not-served', why: printable(why) };
}

/** Parts of it were said by a stranger. */
const printable = (text: string): string => text.replace(/[\p{C}\s]+/gu, ' ').slice(0, MAX_WHY_LENGTH);
