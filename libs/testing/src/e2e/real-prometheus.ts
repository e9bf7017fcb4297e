import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '@plumbline/embedded';
import { sampleFolder } from './sample-origin.js';

const deploy = join(sampleFolder, '../../..', 'deploy');

/** Why there is no Prometheus to run here; undefined when there is one. */
export const noPrometheus: string | undefined =
  spawnSync('prometheus', ['--version']).status === 0
    ? undefined
    : 'prometheus is not on PATH; Debian’s package of that name brings it';

/** One query of a panel of the dashboard, as Grafana would ask it. */
export interface PanelQuery {
  readonly panel: string;
  readonly expr: string;
}

/** The queries of the dashboard; what Grafana fills in about the shown time is a minute. */
export function panelQueries(): PanelQuery[] {
  const { panels } = JSON.parse(readFileSync(join(deploy, 'grafana/dashboards/plumbline.json'), 'utf8')) as {
    panels: { title: string; targets?: { expr?: string }[] }[];
  };
  return panels.flatMap(({ title, targets = [] }) =>
    targets.flatMap(({ expr }) =>
      expr === undefined ? [] : [{ panel: title, expr: expr.replaceAll(/\$__(rate_interval|range)/g, '1m') }],
    ),
  );
}

/** A real Prometheus with the rules of deploy/, that scrapes services where they are every second. */
export class RealPrometheus {
  private constructor(
    private readonly url: string,
    private readonly child: ChildProcess,
    private readonly folder: string,
  ) {}

  /** `targets` gives the address of each service by its name, which becomes the name of the job. */
  static async start(targets: ReadonlyMap<string, string>): Promise<RealPrometheus> {
    const folder = mkdtempSync(join(tmpdir(), 'plumb-prometheus-'));
    const jobs = [...targets].map(([job, url]) => ({
      job_name: job,
      static_configs: [{ targets: [new URL(url).host] }],
    }));
    const every = { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' };
    const config = { global: every, rule_files: [join(deploy, 'prometheus/rules/*.yml')], scrape_configs: jobs };
    writeFileSync(join(folder, 'prometheus.yml'), JSON.stringify(config));
    const port = await freePort();
    const child = spawn(
      'prometheus',
      [
        `--config.file=${join(folder, 'prometheus.yml')}`,
        `--storage.tsdb.path=${join(folder, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
      ],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-5_000)));
    const url = `http://127.0.0.1:${port}`;
    for (let tries = 0; ; tries++) {
      if (
        await fetch(`${url}/-/ready`).then(
          ({ ok }) => ok,
          () => false,
        )
      )
        break;
      if (child.exitCode !== null || tries > 200) throw new Error(`prometheus did not become ready: ${said}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return new RealPrometheus(url, child, folder);
  }

  /** The series that a query returns now. */
  async query(expr: string): Promise<{ metric: Record<string, string>; value: [number, string] }[]> {
    const { result } = await this.ask<{ result: { metric: Record<string, string>; value: [number, string] }[] }>(
      `query?query=${encodeURIComponent(expr)}`,
    );
    return result;
  }

  /** Whether the targets answer, and rules that could not be evaluated, with why. */
  async health(): Promise<{ targets: Record<string, string>; badRules: string[] }> {
    const { activeTargets } = await this.ask<{ activeTargets: { labels: { job: string }; health: string }[] }>(
      'targets',
    );
    const { groups } = await this.ask<{ groups: { rules: { name: string; health: string; lastError?: string }[] }[] }>(
      'rules',
    );
    return {
      targets: Object.fromEntries(activeTargets.map(({ labels, health }) => [labels.job, health])),
      badRules: groups
        .flatMap(({ rules }) => rules)
        .filter(({ health }) => health !== 'ok')
        .map(({ name, health, lastError }) => `${name}: ${health} ${lastError ?? ''}`),
    };
  }

  /** Names of the alerts that are pending or firing. */
  async alerts(): Promise<ReadonlyMap<string, string>> {
    const { alerts } = await this.ask<{ alerts: { labels: { alertname: string }; state: string }[] }>('alerts');
    return new Map(alerts.map(({ labels, state }) => [labels.alertname, state]));
  }

  async stop(): Promise<void> {
    const gone = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.kill('SIGKILL');
    await gone;
    rmSync(this.folder, { recursive: true, force: true });
  }

  private async ask<T>(path: string): Promise<T> {
    const response = await fetch(`${this.url}/api/v1/${path}`);
    const body = (await response.json()) as { status: string; error?: string; data: T };
    if (body.status !== 'success') throw new Error(`${path}: ${body.error ?? 'no answer'}`);
    return body.data;
  }
}
