/** A line of the code that keeps a promise, and a test that fails without it. */
export interface Guard {
  name: string;
  file: string;
  /** Stands in the file exactly once. */
  text: string;
  /** What stands there instead; absent: nothing. */
  instead?: string;
  /** A test file, a group in it, and the title of one test there. */
  test: readonly [file: string, group: string, title: string];
}

/** `npm run prove -- guards` takes each of them out. */
export const guards: Guard[] = [
  {
    name: "the key clause: a message whose key is stored is not stored again",
    file: "lib/chat/store/turns.ts",
    text: "...(key ? { messages: { $not: { $elemMatch: sentWith(key) } } } : {}),",
    test: [
      "test/keys.test.ts",
      "a message with an Idempotency-Key",
      "is sent once; a repeat gives the same data, and says that it is a replay",
    ],
  },
  {
    name: "the key's hash: one key is one request",
    file: "lib/chat/store/obstacle.ts",
    text: 'if (earlier && earlier.hash !== key?.hash) return { kind: "key reused" };',
    test: [
      "test/keys.test.ts",
      "a message with an Idempotency-Key",
      "is refused with another body: 422 IDEMPOTENCY_KEY_REUSED",
    ],
  },
  {
    name: "the idle clause: no turn begins while another is open",
    file: "lib/chat/store/turns.ts",
    text: '"internal.turn": { $exists: false },',
    test: [
      "test/message.test.ts",
      "message",
      "of two sends at once takes one, and tells the other to come back: 409 CHAT_BUSY",
    ],
  },
  {
    name: "the revision clause: what was decided on an outdated read is not written",
    file: "lib/chat/store/collection.ts",
    text: '"internal.revision": seen.internal?.revision,',
    test: ["test/races.test.ts", "a history that two have read at once", "is merged once"],
  },
  {
    name: "the fence of FINISH: a late reply closes only its own turn",
    file: "lib/chat/store/turns.ts",
    text: '"internal.turn.id": turnId,\n      ...(ids.length',
    instead: "...(ids.length",
    test: [
      "test/races.test.ts",
      "a sender whose turn somebody else has settled meanwhile",
      "is told what is stored of it, and takes nothing from the turn that is open now",
    ],
  },
  {
    name: "the fence of FAIL: a late refusal closes only its own turn",
    file: "lib/chat/store/turns.ts",
    text: 'filter: { ...oneChat(tenant, chatId), "internal.turn.id": turnId },',
    instead: "filter: oneChat(tenant, chatId),",
    test: [
      "test/races.test.ts",
      "a sender whose turn somebody else has settled meanwhile",
      "and is refused at last, fails no turn but its own",
    ],
  },
  {
    name: "the lease: nobody settles the turn of a sender that may be alive",
    file: "lib/chat/settle.ts",
    text: "if (isLeased || (turn &&",
    instead: "if ((turn &&",
    test: [
      "test/settle.test.ts",
      "a chat that is over with a turn still open",
      "is not cached while its sender may be alive",
    ],
  },
  {
    name: "the lease, before an end",
    file: "lib/chat/end.ts",
    text: "refuseLiveTurn(current);",
    test: ["test/end.test.ts", "end", "waits for a turn that is running: 409 CHAT_BUSY"],
  },
  {
    name: "the settle time: until it is over, absence in Retell's history proves nothing",
    file: "lib/chat/reconcile.ts",
    text: 'if (!isOver && !turn.refusedByRetell && !isOld) return { kind: "later" };',
    test: [
      "test/keys.test.ts",
      "a message with an Idempotency-Key",
      "whose outcome is unknown is asked after, never sent again, and answered once it is known",
    ],
  },
  {
    name: "refusedByRetell: a message that Retell refused need not be waited for",
    file: "lib/chat/reconcile.ts",
    text: "!isOver && !turn.refusedByRetell && !isOld",
    instead: "!isOver && !isOld",
    test: [
      "test/lib/reconcile.test.ts",
      "an open turn",
      "has failed when absent after a 4xx, after the chat's end, or 15 s after a 500",
    ],
  },
  {
    name: "the tail rule: a reply is complete once it has a message of the agent",
    file: "lib/chat/reconcile.ts",
    text: 'if (!own.rest.some(({ role }) => role === "agent") && !isOver && !isOld) return { kind: "later" };',
    test: [
      "test/settle.test.ts",
      "a reply that Retell shows in pieces",
      "is waited for until the agent's words are there, and found in order",
    ],
  },
  {
    name: "maxRetries 0: the SDK repeats no send",
    file: "lib/retell/sdk.ts",
    text: "maxRetries: 0,",
    test: ["test/message.test.ts", "message, when Retell fails", "asks Retell once for one message, whatever happens"],
  },
  {
    name: "the claim of a key: of two creates with one key the later waits",
    file: "lib/chat/create.ts",
    text: "if (record.owner !== owner) return { earlier: record };",
    test: [
      "test/keys.test.ts",
      "a create with an Idempotency-Key",
      "twice at the same instant is done once; the other is told to come back",
    ],
  },
  {
    name: "the claim of a chat: only one of two sweeps handles it",
    file: "lib/chat/store/schedule.ts",
    text: 'tenant.subaccountId, "internal.nextSweepAt": nextSweepAt }',
    instead: "tenant.subaccountId }",
    test: ["test/sweep.test.ts", "the sweep", "run twice at once settles each chat once"],
  },
  {
    name: "the claim of an orphan: a chat that is to be ended can no longer be handed out",
    file: "lib/chat/sweep/orphans.ts",
    text: 'await tombstones.insert(tenant, chat, "orphan", claimMs);',
    instead: '{ at: new Date(), why: "orphan" as const, endedAt: undefined };',
    test: [
      "test/races.test.ts",
      "a create that was stopped for longer than its lease",
      "leaves a chat that is an orphan or its repeat's, never both: who claims it first has it",
    ],
  },
  {
    name: "the name in a tombstone: the create of a deleted chat is not done again",
    file: "lib/chat/create-recovery.ts",
    text: "if (await tombstones.findDeleted(tenant, request)) throw chatGone();",
    test: [
      "test/delete.test.ts",
      "a deleted chat",
      "is not created again by a repeat of its create, whether its key has noted the chat or not",
    ],
  },
  {
    name: "the second look at a tombstone: what a request beside the deletion has left is removed",
    file: "lib/chat/sweep/tombstones.ts",
    text: "await removeTraces(tenant, chatId)",
    instead: "await Promise.resolve()",
    test: ["test/delete.test.ts", "a deleted chat", "is dropped from the caches by the sweep where Redis was away"],
  },
  {
    name: "tombstones are left out: no read finds a chat that was given up",
    file: "lib/chat/store/collection.ts",
    text: "=> ({ subaccountId, ...isPresent });",
    instead: "=> ({ subaccountId });",
    test: [
      "test/sweep-orphans.test.ts",
      "what is left of an orphan",
      "is a document that the old server can list, and that no endpoint of ours shows",
    ],
  },
  {
    name: "the duplicate: a chat that another attempt has stored is not ended",
    file: "lib/chat/create-store.ts",
    text: "if (isDuplicate(error)) return afterDuplicate(context, retell, chat, error);\n    // Past",
    instead: "// Past",
    test: [
      "test/races.test.ts",
      "a create that was stopped for longer than its lease",
      "ends no chat that its repeat has taken over, and answers that one",
    ],
  },
  {
    name: "an attempt past its time ends nothing: a repeat may have handed the chat out",
    file: "lib/chat/create-store.ts",
    text: "if (deadline.leftMs <= 0) throw error;",
    // Without the line alone, the signal that has already expired may or may not keep the call from going out.
    instead: "await retell.end(chat.chat_id, AbortSignal.timeout(5_000), { bypassBreaker: true });",
    test: [
      "test/races.test.ts",
      "a create that was stopped for longer than its lease",
      "ends nothing when its chat cannot be stored: it does not know whether a repeat has handed it out",
    ],
  },
  {
    name: "the read after a refusal: a create that Retell answered with a 4xx may have left a chat",
    file: "lib/chat/create.ts",
    text: "if (isRefusal(cause)) {",
    instead: "if (isRefusal(cause) && false) {",
    test: [
      "test/keys.test.ts",
      "a create that Retell answers with a 4xx of its own",
      "422, and has done: the chat is found and answered",
    ],
  },
  {
    name: "the database's id: a subaccount whose database was changed loses no chat",
    file: "lib/chat/sweep/orphans.ts",
    text: "isOther || isRestored ? now.getTime() + movedDatabaseMs : (last?.judgesFrom ?? 0)",
    instead: "last?.judgesFrom ?? 0",
    test: [
      "test/sweep-orphans.test.ts",
      "a subaccount whose database is another one than before",
      "loses no chat: none is ended at Retell, and that is said",
    ],
  },
  {
    name: "the database's time: a subaccount whose database was restored loses no chat",
    file: "lib/chat/sweep/orphans.ts",
    text: "const isRestored = last?.markedAt !== undefined && !(markedBefore && markedBefore >= last.markedAt);",
    instead: "const isRestored = markedBefore === null;",
    test: [
      "test/pause.test.ts",
      "a database that was restored",
      "does not let the sweep end what began after the restore point, even without a pause",
    ],
  },
  {
    name: "the stage's time in Redis: a cluster that was restored as a whole loses no chat",
    file: "lib/chat/sweep/orphans.ts",
    text: "Math.max(from, judgesFrom, stageFrom)",
    instead: "Math.max(from, judgesFrom)",
    test: [
      "test/pause.test.ts",
      "a database that was restored",
      "is recognized too when the central database was restored together with it",
    ],
  },
  {
    name: "the fence: a write that comes to the database which a subaccount has left is refused",
    file: "ops/subaccount/move.ts",
    text: "    await fence(from.db, id);",
    test: [
      "test/move.test.ts",
      "a subaccount that is moved",
      "loses no write of an instance that has the old address: it is refused, and told to repeat",
    ],
  },
  {
    name: "the witness: a key of another workspace closes no chat",
    file: "lib/chat/sweep/deleted.ts",
    text: "return others.length === 0;",
    instead: "return true;",
    test: [
      "test/sweep-gone.test.ts",
      "a chat that Retell has not any more",
      "is told from one that a key of another workspace does not show",
    ],
  },
  {
    name: "the reserved key in the metadata: the sweep ends no chat of others",
    file: "lib/retell/client.ts",
    text: "ours?.subaccountId !== subaccountId ||",
    instead: "!ours ||",
    test: [
      "test/sweep.test.ts",
      "the sweep",
      "ends a chat at Retell that a create of ours left there, and no other of the workspace",
    ],
  },
  {
    name: "the stage in that key: the sweep of a copy ends no chat of the original",
    file: "lib/retell/client.ts",
    text: " || ours.stage !== config().STAGE",
    test: [
      "test/stages.test.ts",
      "a stage that runs on a copy of another's data",
      "ends none of its chats at Retell, nor one that says no stage",
    ],
  },
  {
    name: "the generation: a reader caches nothing that is older than a write",
    file: "lib/chat/cache.ts",
    text: 'if (redis.call("GET", KEYS[2]) or "") == ARGV[1] then',
    instead: "if true then",
    test: ["test/cache.test.ts", "the cache", "keeps no value that a reader had before a write"],
  },
  {
    name: "the webhook's signature",
    file: "lib/api/middleware/signature.ts",
    text: "if (verdicts.includes(true)) return true;",
    instead: "return true;",
    test: [
      "test/webhook.test.ts",
      "a webhook's signature",
      "may be by either of two webhook keys during a rotation, and then no longer by the API key",
    ],
  },
  {
    name: "the tenant check of one chat",
    file: "lib/chat/store/collection.ts",
    text: "return { ...ofTenant(tenant), chat_id: chatId } satisfies Filter<StoredChat>;",
    instead: "return { ...isPresent, chat_id: chatId };",
    test: [
      "test/tenants.test.ts",
      "subaccounts that share a database",
      "see, end and write to nothing of each other's: 404",
    ],
  },
  {
    name: "the tenant check of the list",
    file: "lib/chat/store/chats.ts",
    text: ".find(older ? { $or: older } : all)",
    instead: ".find(older ? { $or: older } : {})",
    test: ["test/list.test.ts", "list", "shows only its own chats where subaccounts share a database"],
  },
  {
    name: "the tenant check of agents",
    file: "lib/chat/store/chats.ts",
    text: "const filter = { agentId, subaccountId: tenant.subaccountId };",
    instead: "const filter = { agentId };",
    test: ["test/tenants.test.ts", "subaccounts that share a database", "cannot use each other's agents: 404"],
  },
  {
    name: "the permission",
    file: "lib/api/middleware/authorize.ts",
    text: "state.requirePermission(route.permission);",
    test: ["test/refusals.test.ts", "message refuses", "another tenant's owner: 403"],
  },
  {
    name: "403 before the subaccount's limit: a user without a membership uses up nothing of it",
    file: "lib/api/middleware/limit.ts",
    text: "if (isAllowed) counts.subaccount =",
    instead: "counts.subaccount =",
    test: ["test/refusals.test.ts", "the limits", "a stranger cannot use up a tenant's limit"],
  },
  {
    name: "the epoch: permissions that are forgotten are forgotten by every instance",
    file: "lib/access/membership.ts",
    text: "access.epoch !== epoch ||",
    test: [
      "test/instances.test.ts",
      "a permission",
      "that is revoked is gone at once from every instance, once the user is forgotten",
    ],
  },
  {
    name: "the issuer: a third party's key set makes no super admin",
    file: "lib/api/middleware/authenticate.ts",
    text: "symmetric || (iss !== undefined && JWT_ADMIN_ISSUERS.includes(iss));",
    instead: "true;",
    test: [
      "test/authenticate.test.ts",
      "tokens of a key set",
      "mint no super admin, unless their issuer is named as one that may",
    ],
  },
];
