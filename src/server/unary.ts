import type { handleUnaryCall, Metadata } from '@grpc/grpc-js'
import type { Log } from '../base/index.ts'
import { statusOf } from './grpc-status.ts'

/** What a management call does. Throws or rejects with a BaseError that the caller may see. */
export type Handle<Request> = (request: Request, metadata: Metadata) => object | Promise<object>

export function unary<Request>(
  log: Log,
  handle: Handle<Request>,
): handleUnaryCall<Request, object> {
  return (call, respond) => {
    Promise.resolve(call.request)
      .then((request) => handle(request, call.metadata))
      .then(
        (response) => respond(null, response),
        (error: unknown) => respond(statusOf(error, call.getPath(), log)),
      )
  }
}
