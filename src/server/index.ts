export { ACTIVITY_SERVICE, activityService } from './dashboard/activity-service.ts'
export type { WorkerActivity } from './dashboard/activity-service.ts'
export { STATE_LETTERS } from './dashboard/snapshot.ts'
export type {
  DashboardAction,
  DashboardSource,
  ShardDetail,
  Snapshot,
} from './dashboard/snapshot.ts'
export { advertisedAddress, cannotListen, formatAddress, parseListenAddress } from './address.ts'
export { Commands } from './commands/commands.ts'
export { commandsDefinition } from './commands/definition.ts'
export { JsonCommands } from './commands/json-commands.ts'
export { commandsService } from './commands/service.ts'
export { ServerError } from './errors.ts'
export type {
  FleetControl,
  FleetGuild,
  FleetOverview,
  IdentifyBudgetReport,
  IdentifyGateReport,
  ShardReport,
} from './fleet-control.ts'
export { fleetService } from './fleet-service.ts'
export type { GatewayControl, ShardStat } from './gateway-control.ts'
export { startGrpcServer } from './grpc-server.ts'
export type { GrpcServer, GrpcService } from './grpc-server.ts'
export type { Health, HealthCheck, HealthChecks } from './health.ts'
export { startHttpServer } from './http-server.ts'
export { CODE_METADATA } from './grpc-status.ts'
export { ALONE, Peers } from './peers.ts'
export { loadService, protoFile } from './proto-file.ts'
export type { Peer, PeerDirectory } from './peers.ts'
export type { HttpOptions, HttpServer } from './http-server.ts'
