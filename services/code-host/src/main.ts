import { startService } from '@plumbline/host';
import { CodeHostModule } from './code-host.module.js';
import { codeHostConfig } from './config.js';

await startService({ name: 'code-host', config: codeHostConfig, module: () => CodeHostModule });
