/** List prices in US dollars, without free tiers, of us-east-1. Check them before use: they were read in November 2026. */
export const prices = {
  lambdaGbSecond: 0.0000133334,
  lambdaRequest: 0.2e-6,
  gatewayRequest: 1e-6,
  logGb: 0.5,
  trafficGb: 0.09,
  metricMonth: 0.3,
  alarmMetricMonth: 0.1,
  dashboardMonth: 3,
  schedule: 1e-6,
  redisCommand: 0.2 / 100_000,
};

/** Plans of Upstash with a fixed price a month, without a price per command. */
export const redisPlans = [
  { name: "Fixed 250MB", dollars: 10, trafficGb: 50 },
  { name: "Fixed 1GB", dollars: 20, trafficGb: 100 },
];

export const sources = [
  "Lambda (arm64): aws.amazon.com/lambda/pricing",
  "gateway (HTTP API): aws.amazon.com/api-gateway/pricing",
  "logs, metrics, alarms, dashboard: aws.amazon.com/cloudwatch/pricing",
  "traffic: aws.amazon.com/ec2/pricing, data transfer",
  "Upstash: upstash.com/pricing/redis",
];
