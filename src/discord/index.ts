export { allowedIntents } from './application-flags.ts'
export { CLOSE_CODES, closeAction, closeCode, RESUMABLE_CLOSE_CODE } from './close-codes.ts'
export { EVENT_NAMES, EVENTS, isEventName } from './events.ts'
export { ALL_INTENTS, INTENT_PRESETS, intentNames, INTENTS, PRIVILEGED_INTENTS } from './intents.ts'
export * from './limits.ts'
export { Opcode } from './opcodes.ts'
export { memberPermissions, permissionNames } from './permissions.ts'
export type { PermissionChannel } from './permissions.ts'
export { isKindTold, STATE_KIND_NAMES } from './state-kinds.ts'
export type { StateKind } from './state-kinds.ts'
export {
  DISCORD_EPOCH_MS,
  isSnowflake,
  shardOfGuild,
  snowflakeTimeMs,
  userIdOfToken,
} from './snowflake.ts'
