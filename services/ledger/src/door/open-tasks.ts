import type { EventLog } from '@plumbline/event-log';

interface OpenTask {
  taskId: string;
  version: number;
}

const tasksPerPage = 1_000;
const positionsPerRead = 50_000;

/**
 * The tasks that are not closed, kept by reading on in the log: a listing costs what happened since the last one, not what ever happened.
 * Exact up to the position the log had when it was asked; nothing is kept but the open tasks, in the order of their submission.
 */
export class OpenTasks {
  private readonly open = new Map<string, number>();
  private epoch = '';
  private pos = 0;
  private reading: Promise<void> | undefined;

  constructor(private readonly log: EventLog) {}

  /** A page of open tasks submitted after the task `after` (closed or not), oldest first. */
  async page(after: string | undefined): Promise<{ tasks: OpenTask[]; more: boolean }> {
    await this.catchUp();
    const from = after === undefined ? 0 : (this.open.get(after) ?? (await this.submittedAt(after)));
    const ids: string[] = [];
    for (const [taskId, pos] of this.open) {
      if (pos <= from) continue;
      ids.push(taskId);
      if (ids.length > tasksPerPage) break;
    }
    const page = ids.slice(0, tasksPerPage);
    const { rows } = await this.log.pool.query<{ stream_id: string; version: number }>(
      'SELECT stream_id, version FROM es.stream WHERE stream_id = ANY($1)',
      [page.map((taskId) => `task-${taskId}`)],
    );
    const versions = new Map(rows.map((row) => [row.stream_id, row.version]));
    const tasks = page.map((taskId) => ({ taskId, version: versions.get(`task-${taskId}`) ?? 0 }));
    return { tasks, more: ids.length > tasksPerPage };
  }

  /** Calls at once share one reading; it may have begun before the call, so the answer may be behind by that moment. */
  private catchUp(): Promise<void> {
    this.reading ??= this.readOn().finally(() => (this.reading = undefined));
    return this.reading;
  }

  private async readOn(): Promise<void> {
    const head = await this.log.head();
    if (head.epoch !== this.epoch || head.pos < this.pos) {
      this.open.clear();
      this.pos = 0;
      this.epoch = head.epoch;
    }
    while (this.pos < head.pos) {
      const to = Math.min(this.pos + positionsPerRead, head.pos);
      const { rows } = await this.log.pool.query<{ stream_id: string; type: string; pos: string }>(
        `SELECT e.stream_id, e.type, l.pos FROM es.log l JOIN es.event e ON e.ingest_id = l.ingest_id
          WHERE l.pos > $1 AND l.pos <= $2 AND e.category = 'task' AND (e.version = 1 OR e.type = 'task.closed')
          ORDER BY l.pos`,
        [this.pos, to],
      );
      for (const { stream_id: stream, type, pos } of rows) {
        const taskId = stream.slice('task-'.length);
        if (type === 'task.closed') this.open.delete(taskId);
        else this.open.set(taskId, Number(pos));
      }
      this.pos = to;
    }
  }

  private async submittedAt(taskId: string): Promise<number> {
    const { rows } = await this.log.pool.query<{ pos: string }>(
      'SELECT l.pos FROM es.event e JOIN es.log l ON l.ingest_id = e.ingest_id WHERE e.stream_id = $1 AND e.version = 1',
      [`task-${taskId}`],
    );
    return Number(rows[0]?.pos ?? 0);
  }
}
