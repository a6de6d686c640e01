import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import {
  type ChannelCredentials,
  credentials,
  loadPackageDefinition,
  type ServiceClientConstructor,
} from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'

/** A gateway as clients reach it. */
export interface GrpcTarget {
  /** host:port of the gateway's -addr. */
  readonly address: string
  /** Of the connection. Default: none, as the listener has it. */
  readonly credentials?: ChannelCredentials
  /** The gateway's -backend-token. */
  readonly token?: string
}

type Package = Readonly<Record<string, unknown>>

/** The client class of a service of proto/. @param name such as `gateway.Events`. */
export function serviceClient(file: string, name: string): ServiceClientConstructor {
  let found: unknown = loadPackageDefinition(
    loadSync(protoFile(file), { keepCase: true, longs: String, enums: String, defaults: true }),
  )
  for (const part of name.split('.')) found = (found as Package)[part]
  return found as ServiceClientConstructor
}

export function targetCredentials(target: GrpcTarget): ChannelCredentials {
  return target.credentials ?? credentials.createInsecure()
}

/** proto/ lies beside src in a clone and beside dist in an installed package. */
function protoFile(name: string): string {
  const paths = [`../../../proto/${name}`, `../../../../proto/${name}`].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  )
  return paths.find((path) => existsSync(path)) ?? paths[0]!
}
