import { startService } from '@plumbline/host';
import { schedulerConfig } from './config.js';
import { SchedulerModule } from './scheduler.module.js';

await startService({ name: 'scheduler', config: schedulerConfig, module: () => SchedulerModule });
