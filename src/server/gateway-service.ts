/** `gateway.Gateway`: management of the shards of this process. See proto/gateway.proto. */
import type {
  sendUnaryData,
  ServerUnaryCall,
  StatusObject,
  UntypedServiceImplementation,
} from '@grpc/grpc-js'
import { status } from '@grpc/grpc-js'
import { BaseError, type Log } from '../base/index.ts'
import { isSnowflake } from '../discord/index.ts'
import { answerOf, sentenceOf, ServerError } from './errors.ts'
import type { ControlDeps } from './gateway-control.ts'

interface ShardRequest {
  readonly shard: number
}

/** int64 as decimal text: proto-loader's `longs: String`. */
interface MembersRequest extends ShardRequest {
  readonly guild_id: string
}

export function gatewayService({ control, log }: ControlDeps): UntypedServiceImplementation {
  return {
    Version: unary(log, () => ({ version: control.version })),
    Stats: unary(log, () => ({
      stats: control.stats().map(({ shard, status: shardStatus, eventRate }) => ({
        shard,
        status: shardStatus,
        event_rate: Math.round(eventRate),
      })),
    })),
    RestartShard: unary(log, async ({ shard }: ShardRequest) => {
      await control.restartShard(shard)
      return {}
    }),
    RequestGuildMembers: unary(log, async ({ guild_id, shard }: MembersRequest) => {
      // Signed on the wire, unsigned at Discord: the bits are the same.
      const guildId = BigInt.asUintN(64, BigInt(guild_id))
      if (!isSnowflake(guildId.toString())) {
        throw new ServerError('SERVER_BAD_REQUEST', 'guild_id is missing: expected a guild id.')
      }
      await control.requestGuildMembers(guildId, shard)
      return {}
    }),
  }
}

function unary<Request>(
  log: Log,
  handle: (request: Request) => object | Promise<object>,
): (call: ServerUnaryCall<Request, object>, respond: sendUnaryData<object>) => void {
  return (call, respond) => {
    Promise.resolve(call.request)
      .then(handle)
      .then(
        (response) => respond(null, response),
        (error: unknown) => respond(statusOf(error, call.getPath(), log)),
      )
  }
}

/** The caller is an operator: a BaseError's message is a sentence for operators and holds no secret. */
function statusOf(error: unknown, path: string, log: Log): Partial<StatusObject> {
  if (error instanceof ServerError) {
    return { code: answerOf(error).grpcStatus, details: sentenceOf(error) }
  }
  if (error instanceof BaseError) {
    const code = error.retryable ? status.UNAVAILABLE : status.FAILED_PRECONDITION
    return { code, details: error.message }
  }
  log.error('management call failed', { path, error })
  return { code: status.INTERNAL, details: 'The call failed inside the program; its log says why.' }
}
