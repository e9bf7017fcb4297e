import { startService } from '@plumbline/host';
import { gateConfig } from './config.js';
import { GateModule } from './gate.module.js';

await startService({ name: 'gate', config: gateConfig, module: () => GateModule });
