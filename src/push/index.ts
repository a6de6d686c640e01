export { PUSH_ERRORS, PushError } from './errors.ts'
export type { PushErrorCode } from './errors.ts'
export type { QueueLimits } from './event-queue.ts'
export type { PayloadEncoding, PayloadForm } from './payload.ts'
export type {
  AckLane,
  AckLanes,
  Destination,
  DestinationStats,
  PushDrop,
  PushEvent,
  Undelivered,
} from './ports.ts'
export { Push } from './push.ts'
export { RedisListDestination } from './redis/destination.ts'
export type { RedisListOptions } from './redis/destination.ts'
export { SubscribeDestination } from './subscribe/destination.ts'
export type { SubscribeOptions } from './subscribe/destination.ts'
export { eventsService } from './subscribe/events-service.ts'
export type { EventsService } from './subscribe/events-service.ts'
