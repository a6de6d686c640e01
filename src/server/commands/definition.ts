import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { ServiceDefinition } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'

export interface CommandsDefinition {
  readonly name: string
  readonly service: ServiceDefinition
  /** For reflection. */
  readonly protoFile: string
}

const NAME = 'gateway.v1.Commands'

/** `gateway.v1.Commands` as proto/commands.proto has it: field names as there, ids and 64-bit numbers as text. */
export function commandsDefinition(): CommandsDefinition {
  // Beside src in a clone, beside dist in an installed program.
  const paths = ['../../../proto/commands.proto', '../../../../proto/commands.proto'].map((path) =>
    fileURLToPath(new URL(path, import.meta.url)),
  )
  const protoFile = paths.find((path) => existsSync(path)) ?? paths[0]!
  const options = { keepCase: true, longs: String, enums: String, defaults: true }
  return { name: NAME, service: loadSync(protoFile, options)[NAME] as ServiceDefinition, protoFile }
}
