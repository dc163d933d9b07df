/** As much of an OpenAPI document as this page changes. */
export interface OpenApi {
  servers?: { url: string }[];
  paths: Record<string, Record<string, { parameters?: Parameter[] }>>;
  components: {
    parameters?: Record<string, Parameter>;
    schemas: Record<string, Schema | undefined>;
  };
}
interface Parameter {
  name?: string;
  in?: string;
  required?: boolean;
  example?: unknown;
  examples?: unknown;
  schema?: Schema;
}
interface Schema {
  default?: unknown;
  example?: unknown;
  examples?: unknown[];
  properties?: Record<string, Schema>;
}

export interface Demo {
  apiUrl: string;
  subaccountId: string | undefined;
  agentId: string | undefined;
}

/** The document with values in its forms that work here, and the API's address. */
export function withDemo(document: OpenApi, { apiUrl, subaccountId, agentId }: Demo): OpenApi {
  const { schemas, parameters = {} } = document.components;
  setExample(schemas.SubaccountId, subaccountId);
  setExample(schemas.CreateChatBody?.properties?.agentId, agentId);
  // Forms send what they show. An example of an optional header, such as an Idempotency-Key, would be sent each time.
  const all = [
    ...Object.values(parameters),
    ...Object.values(document.paths).flatMap((operations) =>
      Object.values(operations).flatMap((one) => one.parameters ?? []),
    ),
  ];
  for (const parameter of all) if (!parameter.required) withoutExample(parameter);
  return { ...document, servers: [{ url: apiUrl }] };
}

function setExample(schema: Schema | undefined, value: string | undefined): void {
  if (!schema || value === undefined) return;
  schema.example = value;
  schema.examples = [value];
}

function withoutExample(parameter: Parameter): void {
  for (const holder of [parameter, parameter.schema ?? {}]) {
    delete holder.example;
    delete holder.examples;
  }
}
