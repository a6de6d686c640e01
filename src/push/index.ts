export { PushError } from './errors.ts'
export { Spill } from './spill/spill.ts'
export { SpillLedger } from './spill/spill-ledger.ts'
export { SpillThread } from './spill/spill-thread.ts'
export type { QueueLimits } from './event-queue.ts'
export type { Wanted } from './event-filter.ts'
export type { FilterRule } from './filter-rule.ts'
export { GrpcPushDestination } from './grpc-push/destination.ts'
export type { GrpcPushOptions } from './grpc-push/destination.ts'
export type {
  AckLane,
  AckLanes,
  Destination,
  DestinationStats,
  PushDrop,
  PushEvent,
  Undelivered,
  WhenFull,
} from './ports.ts'
export { Push } from './push.ts'
export { CommandSource } from './redis/command-source.ts'
export { RedisDestination } from './redis/destination.ts'
export { redisList, redisStream } from './redis/kinds.ts'
export type { RedisListOptions, RedisStreamOptions } from './redis/kinds.ts'
export { reportRedis } from './redis/server-report.ts'
export type { RedisReport } from './redis/server-report.ts'
export { StdoutDestination } from './stdout/destination.ts'
export type { StdoutOptions } from './stdout/destination.ts'
export { openStdout } from './stdout/open-stdout.ts'
export { SubscribeDestination } from './subscribe/destination.ts'
export type { SubscribeOptions } from './subscribe/destination.ts'
export { eventsService } from './subscribe/events-service.ts'
