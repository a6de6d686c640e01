export { openDatabase } from './database.ts'
export type {
  Connection,
  Database,
  DatabaseCapabilities,
  DatabaseDeps,
  EmbeddedOptions,
  PostgresOptions,
  Queryable,
} from './database.ts'
export { CACHE_ERRORS, CacheError } from './errors.ts'
export type { CacheErrorCode } from './errors.ts'
export { migrate } from './migrate.ts'
export type { MigrateDeps, MigrateResult, Migration } from './migrate.ts'
export { StateReader } from './state-reader.ts'
export type { JsonList } from './state/row-pages.ts'
export { createCacheWriter } from './cache-writer.ts'
export type { CacheGap, CacheWriter, CacheWriterDeps } from './cache-writer.ts'
export { Fleet } from './fleet.ts'
export type { FleetIdentity } from './fleet.ts'
export { GuildMembership } from './guild-membership.ts'
export { IdentifyLog } from './identify-log.ts'
export { SessionStore } from './session-store.ts'
