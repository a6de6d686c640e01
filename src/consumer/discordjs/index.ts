/**
 * `gateway/discordjs`: the `Gateway` of `@discordjs/core`, so that a bot moves behind this gateway by replacing
 * its WebSocketManager. docs/consumers.md#discordjs is its manual.
 */
export { DiscordjsGateway } from './gateway.ts'
export type { DiscordjsGatewayOptions } from './gateway.ts'
