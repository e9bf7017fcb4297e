import { startService } from '@plumbline/host';
import { ledgerConfig } from './config.js';
import { LedgerModule } from './ledger.module.js';

await startService({ name: 'ledger', config: ledgerConfig, module: (config) => LedgerModule.with(config) });
