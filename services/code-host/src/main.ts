import { startService } from '@plumbline/host';
import { codeHostConfig } from './config.js';
import { CodeHostModule } from './code-host.module.js';

await startService({ name: 'code-host', config: codeHostConfig, module: () => CodeHostModule });
