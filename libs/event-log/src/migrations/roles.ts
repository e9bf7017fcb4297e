/** NOLOGIN role that owns schema `es` and its tables. It has no right to write events. */
export const ownerRole = 'plumbline_owner';
/** NOLOGIN role that the SECURITY DEFINER functions run as: it may insert events, never update or delete them. */
export const writerRole = 'plumbline_writer';
/** NOLOGIN group whose members (the ledger's login role) may read, call the functions, and keep read models. */
export const ledgerGroup = 'plumbline_ledger';
