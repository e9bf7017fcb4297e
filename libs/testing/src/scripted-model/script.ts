import { PATTERN_FLAGS, SCRIPTED_PREFIX, type Scenario, type ScriptedTurn } from './scenario.js';
import { render, renderText, type Captured } from './template.js';

/** A message of a request, as far as scripts look at it. */
export interface PromptMessage {
  readonly role: string;
  readonly text: string;
}

/** A reply with everything filled in. */
export interface Reply {
  readonly reasoning: string;
  readonly content: string;
  readonly toolCalls: readonly { readonly id: string; readonly name: string; readonly arguments: string }[];
  readonly finish: 'stop' | 'tool_calls' | 'length';
}

/** What the script has for a request; a miss says what was looked for, and names the scenario once one was found. */
export type Scripted =
  | {
      readonly outcome: 'reply';
      readonly scenario: Scenario;
      readonly turn: number;
      readonly played: ScriptedTurn;
      readonly reply: Reply;
    }
  | { readonly outcome: 'no-model' | 'no-match'; readonly scenario?: Scenario; readonly message: string };

/**
 * Finds the answer to a request. A function of scenarios and request alone: asked again, by whomever and after whatever
 * restart, it answers the same. The turn is the number of assistant messages. Entries with a fitting `when` come first,
 * in order; then the entry that stands at the turn's place in the list, if it has no `when`.
 */
export function findReply(scenarios: readonly Scenario[], model: string, messages: readonly PromptMessage[]): Scripted {
  const chosen = chooseScenario(scenarios, model, messages);
  if ('outcome' in chosen) return chosen;
  const scenario = chosen;
  const turn = messages.filter(({ role }) => role === 'assistant').length;
  const last = messages.at(-1)?.text ?? '';
  const inPlace = scenario.turns[turn];
  const played =
    scenario.turns.find(({ when }) => when !== undefined && fits(when, turn, last)) ??
    (inPlace?.when === undefined ? inPlace : undefined);
  if (played === undefined) {
    const message = `scenario ${scenario.name} has no turn ${turn} (it lists ${scenario.turns.length}) and no condition that fits a last message beginning ${quote(last)}`;
    return { outcome: 'no-match', scenario, message };
  }
  const captured = captureFrom(played, messages.map(({ text }) => text).join('\n'));
  if (typeof captured === 'string') {
    return { outcome: 'no-match', scenario, message: `scenario ${scenario.name}, turn ${turn}: ${captured}` };
  }
  return { outcome: 'reply', scenario, turn, played, reply: fill(played, captured, turn) };
}

function chooseScenario(
  scenarios: readonly Scenario[],
  model: string,
  messages: readonly PromptMessage[],
): Scenario | Extract<Scripted, { outcome: 'no-model' | 'no-match' }> {
  const forModel = scenarios.filter((scenario) => servesModel(scenario, model));
  if (!model.startsWith(SCRIPTED_PREFIX) || forModel.length === 0) {
    return {
      outcome: 'no-model',
      message: `no scenario answers for model ${quote(model)}; scripted models: ${modelIds(scenarios).join(', ')}`,
    };
  }
  const firstAnswer = messages.findIndex(({ role }) => role === 'assistant');
  // Only what came before the first answer: a later tool result must not move a conversation to another scenario.
  const opening = firstAnswer < 0 ? messages : messages.slice(0, firstAnswer);
  const text = opening.map((message) => message.text).join('\n');
  const fitting = forModel.filter(
    ({ select }) => select.promptMatches === undefined || matches(select.promptMatches, text),
  );
  const most = Math.max(...fitting.map(specificity));
  const [scenario, second] = fitting.filter((candidate) => specificity(candidate) === most);
  if (scenario === undefined) {
    const tried = forModel.map(({ name, select }) => `${name} (${quote(select.promptMatches ?? '')})`).join(', ');
    return {
      outcome: 'no-match',
      message: `no scenario for ${model} matches a prompt beginning ${quote(text)}; tried ${tried}`,
    };
  }
  if (second !== undefined) {
    return {
      outcome: 'no-match',
      message: `scenarios ${scenario.name} and ${second.name} both match; make one of them more specific`,
    };
  }
  return scenario;
}

/** The model ids the scenarios name, sorted, each once. */
export function modelIds(scenarios: readonly Scenario[]): string[] {
  return [...new Set(scenarios.map(({ name, select }) => select.model ?? SCRIPTED_PREFIX + name))].sort();
}

function servesModel({ name, select }: Scenario, model: string): boolean {
  if (select.model !== undefined) return select.model === model;
  return select.promptMatches !== undefined || model === SCRIPTED_PREFIX + name;
}

function specificity({ select }: Scenario): number {
  return Object.values(select).filter((condition) => condition !== undefined).length;
}

function fits(when: NonNullable<ScriptedTurn['when']>, turn: number, last: string): boolean {
  if (when.turn !== undefined && when.turn !== turn) return false;
  return when.lastMessageMatches === undefined || matches(when.lastMessageMatches, last);
}

/** The captures of a turn, or what is missing. */
function captureFrom({ capture, captureAll }: ScriptedTurn, prompt: string): Captured | string {
  const captured: Record<string, string | string[]> = {};
  for (const [name, text] of Object.entries(capture)) {
    const value = new RegExp(text, PATTERN_FLAGS).exec(prompt)?.[1];
    if (value === undefined) return `capture ${name} (${quote(text)}) matches nothing in the prompt`;
    captured[name] = value;
  }
  for (const [name, text] of Object.entries(captureAll)) {
    const values = [...prompt.matchAll(new RegExp(text, `g${PATTERN_FLAGS}`))].map((match) => match[1] ?? '');
    if (values.length === 0) return `captureAll ${name} (${quote(text)}) matches nothing in the prompt`;
    captured[name] = [...new Set(values)];
  }
  return captured;
}

function fill({ reply }: ScriptedTurn, captured: Captured, turn: number): Reply {
  const { content = '' } = reply;
  const toolCalls = reply.toolCalls.map((call, at) => ({
    // Nine alphanumerics, since some chat templates refuse other ids.
    id: `s${String(turn).padStart(5, '0')}t${String(at).padStart(2, '0')}`,
    name: renderText(call.name, captured),
    arguments: JSON.stringify(render(call.arguments, captured)),
  }));
  return {
    reasoning: renderText(reply.reasoning ?? '', captured),
    content: typeof content === 'string' ? renderText(content, captured) : JSON.stringify(render(content, captured)),
    toolCalls,
    finish: reply.finish ?? (toolCalls.length > 0 ? 'tool_calls' : 'stop'),
  };
}

function matches(text: string, subject: string): boolean {
  return new RegExp(text, PATTERN_FLAGS).test(subject);
}

function quote(text: string): string {
  return JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
}
