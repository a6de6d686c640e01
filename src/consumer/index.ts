/**
 * `gateway/consumer`: what a bot team imports to take events from a Redis list, a Redis stream or a gateway's
 * gRPC. docs/consumers.md is its manual.
 */
export { consume } from './consumer.ts'
export type { Consumer, ConsumerOptions, ConsumerStats, FailedEvent } from './consumer.ts'
export { CONSUMER_ERRORS, ConsumerError } from './errors.ts'
export type { ConsumedEvent, ConsumedEventName, EventStamp } from './event.ts'
export type { EventSource, Intake, SourceContext, TakenEvent } from './ports.ts'
export { grpcSubscription } from './grpc/subscription.ts'
export type { GrpcSubscriptionOptions } from './grpc/subscription.ts'
export type { RedisTarget } from './redis/link.ts'
export { redisList } from './redis/list.ts'
export type { RedisListOptions } from './redis/list.ts'
export { redisStream } from './redis/stream.ts'
export type { RedisStreamOptions } from './redis/stream.ts'
