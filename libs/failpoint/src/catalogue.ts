/**
 * Every place at which a process can be told to die, by what has just happened there. The fault suite kills at each of them, and a test
 * holds that each is reached; a name that no code passes is a lie about what was tried.
 */
export const failpointNames = [
  /** The ledger has a request to append; nothing was sent to Postgres. */
  'append.received',
  /** The append is on its way to Postgres; whether it commits is not known. */
  'append.sent',
  /** Postgres has committed; nobody was told. */
  'append.committed',
  /** A door has its answer and has not sent it. */
  'door.answered',
  /** A batch is being numbered in Postgres; whether it commits is not known. */
  'sequence.sent',
  /** Events were numbered; relay and projectors were not woken. */
  'sequence.committed',
  /** Some messages of a batch were sent to LOG, none was acknowledged yet. */
  'relay.sent',
  /** LOG has acknowledged messages; the relay has noted nothing. */
  'relay.published',
  /** Rows of read models and the checkpoint are written; their transaction is open. */
  'projection.written',
  /** Some chunks of an artifact are stored, not all. */
  'artifact.chunk-stored',
  /** A lease was let expire, or a timer fired; nobody was told. */
  'sweeper.swept',

  /** Intake has a submission in hand; nothing is recorded. */
  'intake.received',
  /** The submission is recorded; its message is not acknowledged and nobody was answered. */
  'intake.recorded',
  /** What follows is decided; nothing of it is recorded. */
  'decision.made',
  /** The decision is recorded; the message that led to it is not acknowledged. */
  'decision.recorded',

  /** A worker was granted a lease; the request's message is not acknowledged. */
  'step.claimed',
  /** The message is acknowledged; only the lease says now that somebody works. */
  'step.acknowledged',
  /** The work is done; its result is not recorded. */
  'step.worked',
  /** The result is recorded; the worker has not noticed. */
  'step.recorded',
  /** A fact in the middle of a step is recorded, a turn or a check; the step goes on. */
  'step.fact-recorded',
  /** Part of an artifact was sent to the ledger, not all. */
  'artifact.part-sent',

  /** The push to the repository's host is running. */
  'publish.pushing',
  /** The branch is at the host; that it is published is not recorded. */
  'publish.pushed',
] as const;

export type FailpointName = (typeof failpointNames)[number];
