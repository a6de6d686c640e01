import type { Http2Server } from 'node:http2'
import {
  logVerbosity,
  Server,
  ServerCredentials,
  type ServiceDefinition,
  setLogVerbosity,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js'
import { loadSync, type PackageDefinition } from '@grpc/proto-loader'
import { ReflectionService } from '@grpc/reflection'
import { HealthImplementation } from 'grpc-health-check'
import type { Clock, Log, Secret } from '../base/index.ts'
import { cannotListen, formatAddress, parseListenAddress } from './address.ts'
import { limitHttp2 } from './connection-limit.ts'
import type { GatewayControl } from './gateway-control.ts'
import { gatewayService } from './gateway-service.ts'
import { ALONE, Peers } from './peers.ts'
import { LOADER_OPTIONS, protoFile } from './proto-file.ts'

/** A further service on the same listener. */
export interface GrpcService {
  /** Full name: `gateway.Events`. */
  readonly name: string
  readonly definition: ServiceDefinition
  readonly implementation: UntypedServiceImplementation
  /** Path of its proto file; with it reflection tells of the service. */
  readonly protoFile?: string
}

export interface GrpcOptions {
  /** `host:port`, port 0 for a free one. */
  readonly address: string
  /** The flag that the address came from, for messages. */
  readonly flag: string
  readonly control: GatewayControl
  /** The other workers of the fleet; default: there are none. */
  readonly peers?: Peers
  /** Asked for by the calls that change something; default: whoever reaches the listener may. */
  readonly adminToken?: Secret | null
  readonly services?: readonly GrpcService[]
  readonly clock: Clock
  readonly log: Log
}

export interface GrpcServer {
  /** `host:port`, with the port that was bound. */
  readonly address: string
  /** What grpc.health.v1 answers, for the whole and for each service. SERVING from the start. */
  setServing(isServing: boolean): void
  /** Accepts no more, lets the calls under way end for 2 s, cuts the others. */
  close(): Promise<void>
}

const GATEWAY = 'gateway.Gateway'
const LIMITS = {
  /** Calls of one connection at a time. */
  'grpc.max_concurrent_streams': 1000,
  /** Requests are small: a command, a filter. */
  'grpc.max_receive_message_length': 1024 * 1024,
  /** A peer that is gone without a word is noticed, and what it held is free again. */
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
} as const
const CLOSE_TIMEOUT_MS = 2000

/**
 * Starts the management listener: gateway.Gateway, further services, reflection and health.
 *
 * @throws ServerError SERVER_CANNOT_LISTEN
 */
export async function startGrpcServer(options: GrpcOptions): Promise<GrpcServer> {
  const { host, port } = parseListenAddress(options.address, options.flag)
  const services = options.services ?? []
  // grpc-js writes to standard error by itself what it also hands to us.
  setLogVerbosity(logVerbosity.NONE)
  // One load for all files: reflection keeps one file per package, and they share one.
  const known = loadSync(
    [protoFile('gateway'), ...services.flatMap((service) => service.protoFile ?? [])],
    LOADER_OPTIONS,
  )
  const server = new Server(LIMITS)
  const definition = serviceIn(known, GATEWAY)
  const peers = options.peers ?? new Peers(ALONE, options)
  server.addService(
    definition,
    gatewayService({ ...options, adminToken: options.adminToken ?? null, peers, definition }),
  )
  for (const service of services) server.addService(service.definition, service.implementation)
  new ReflectionService(known).addToServer(server)
  const names = ['', GATEWAY, ...services.map((service) => service.name)]
  const health = new HealthImplementation(
    Object.fromEntries(names.map((name) => [name, 'SERVING' as const])),
  )
  health.addToServer(server)
  const boundPort = await bind(server, formatAddress({ host, port })).catch((error: unknown) => {
    server.forceShutdown()
    throw cannotListen(options.address, options.flag, error)
  })
  for (const http2Server of http2ServersOf(server)) limitHttp2(http2Server)
  const setServing = (isServing: boolean): void => {
    for (const name of names) health.setStatus(name, isServing ? 'SERVING' : 'NOT_SERVING')
  }
  return {
    address: formatAddress({ host, port: boundPort }),
    setServing,
    close() {
      setServing(false)
      return new Promise((resolve) => {
        const cut = options.clock.setTimeout(() => server.forceShutdown(), CLOSE_TIMEOUT_MS)
        server.tryShutdown(() => {
          options.clock.clearTimeout(cut)
          resolve()
        })
      })
    },
  }
}

function bind(server: Server, address: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error, port) => {
      if (error === null) resolve(port)
      else reject(error)
    })
  })
}

/** grpc-js has no option for how many connections there may be, and keeps its listeners to itself. */
function http2ServersOf(server: Server): Iterable<Http2Server> {
  return (
    server as unknown as { http2Servers: ReadonlyMap<Http2Server, unknown> }
  ).http2Servers.keys()
}

function serviceIn(known: PackageDefinition, name: string): ServiceDefinition {
  return known[name] as ServiceDefinition
}
