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
  /** A door that records (append, lease) has its answer and has not sent it. */
  'door.answered',
  /** News are being numbered in Postgres; whether that commits is not known. Idle looks at the queue do not count. */
  'sequence.sent',
  /** Events were numbered; relay and projectors were not woken. */
  'sequence.committed',
  /** A message of a batch reached the broker, the rest of the batch was not sent: the n-th passage is after n messages. */
  'relay.sent',
  /** LOG has acknowledged messages; the relay has noted nothing. */
  'relay.published',
  /** Rows of read models and the checkpoint are written; their transaction is open. */
  'projection.written',
  /** A read model that was built anew takes the place of the old one; the transaction is open. */
  'projection.swapped',
  /** A chunk of an artifact is stored; the transaction of its upload is open. */
  'artifact.chunk-stored',
  /** A lease was let expire, or a timer fired; nobody was told. */
  'sweeper.swept',
  /** A lease is granted in Postgres; nobody was told. */
  'lease.granted',

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

  /** An observation of this machine is safe on disk; the ledger has not heard of it. */
  'fact.spooled',
  /** The ledger has recorded an observation; on disk it still waits. */
  'fact.recorded',

  /** The push to the repository's host is running, in a process that outlives this one. */
  'publish.pushing',
  /** The branch is at the host; that it is published is not recorded. */
  'publish.pushed',
] as const;

export type FailpointName = (typeof failpointNames)[number];
