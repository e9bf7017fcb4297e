import { startService } from '@plumbline/host';
import { coderConfig } from './config.js';
import { CoderModule } from './coder.module.js';

await startService({ name: 'coder', config: coderConfig, module: () => CoderModule });
