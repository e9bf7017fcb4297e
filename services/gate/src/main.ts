import { startService } from '@plumbline/host';
import { gateConfigSchema } from './config.js';
import { GateModule } from './module.js';

await startService({ name: 'gate', config: gateConfigSchema, module: () => GateModule });
