import { startService } from '@plumbline/host';
import { codeHostConfigSchema } from './config.js';
import { CodeHostModule } from './module.js';

await startService({ name: 'code-host', config: codeHostConfigSchema, module: () => CodeHostModule });
