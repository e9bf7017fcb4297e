import { startService } from '@plumbline/host';
import { nodeAgentConfig } from './config.js';
import { NodeAgentModule } from './module.js';

await startService({ name: 'node-agent', config: nodeAgentConfig, module: () => NodeAgentModule });
