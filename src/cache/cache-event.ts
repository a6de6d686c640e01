import type { Batch } from './batch.ts'

/** One dispatch as the shard hands it over: valid during the call only. The shape of shard's Dispatch. */
export interface CacheEvent {
  readonly shardId: number
  readonly sessionId: string
  readonly sequence: number
  readonly eventName: string
  /** Class of a GUILD_CREATE or GUILD_DELETE by the guild lifecycle; '' when it is not known. */
  readonly guildClass: string
  /** The term `d`: bytes[start, end). */
  readonly bytes: Uint8Array
  readonly start: number
  readonly end: number
}

/** Puts what an event changes into the batch. @throws EtfError when the event cannot be read. */
export type EventHandler = (event: CacheEvent, batch: Batch) => void
