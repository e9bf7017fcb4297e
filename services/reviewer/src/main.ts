import { startService } from '@plumbline/host';
import { reviewerConfig } from './config.js';
import { ReviewerModule } from './reviewer.module.js';

await startService({ name: 'reviewer', config: reviewerConfig, module: () => ReviewerModule });
