package proxy

const (
	secretBody = 64 << 10 // one account, sealed under its caller's secret; a configuration line
	jobBody    = 4 << 20  // a request that is refused or forwarded whole
)

// Reasons that more than one refused admin route has.
const (
	whyPastProxy   = "it would write objects and settings past the proxy"
	whyReplication = "replication would copy ciphertext past the proxy, and settings with it"
	whyMeasure     = "it measures MinIO with objects of its own: run it there"
	whyLDAP        = "the proxy does not learn access keys of LDAP users: make them at MinIO, and use `bucketseal credential add`"
	whyKeyTool     = "MinIO does not offer it either: use `bucketseal key`"
)

// adminRoutes is what the proxy takes of MinIO's admin API, its KMS API and its
// metrics. What is not in it is refused. Paths begin below /minio/; a path that
// ends in /* stands for all below it. docs/compatibility.md is checked against it.
func adminRoutes() []route {
	var all []route
	for _, rows := range [][]route{keyRoutes(), accountRoutes(), policyRoutes(), serverRoutes(), settingRoutes(), refusedAdminRoutes(), metricsRoutes()} {
		all = append(all, rows...)
	}
	return all
}

// keyRoutes are answered by the proxy's key service, for those who may.
func keyRoutes() []route {
	key := []string{"key-id"}
	return []route{
		{op: "KMSStatus", method: "GET", path: "kms/v1/status", handler: (*Server).kmsStatus},
		{op: "KMSMetrics", method: "GET", path: "kms/v1/metrics", handler: (*Server).kmsMetrics},
		{op: "KMSAPIs", method: "GET", path: "kms/v1/apis", handler: (*Server).kmsAPIs},
		{op: "KMSVersion", method: "GET", path: "kms/v1/version", handler: (*Server).kmsVersion},
		{op: "KMSCreateKey", method: "POST", path: "kms/v1/key/create", sub: key, handler: (*Server).kmsCreateKey},
		{op: "KMSKeyStatus", method: "GET", path: "kms/v1/key/status", params: key, handler: (*Server).kmsKeyStatus},
		{op: "KMSListKeys", method: "GET", path: "kms/v1/key/list", sub: []string{"pattern"}, handler: (*Server).kmsListKeys},
		{op: "KMSDeleteKey", method: "DELETE", path: "kms/v1/key/delete", action: refuse, why: whyKeyTool},
		{op: "KMSImportKey", method: "POST", path: "kms/v1/key/import", action: refuse, why: whyKeyTool},

		{op: "KMSStatus (legacy)", method: "POST", path: "admin/v3/kms/status", handler: (*Server).kmsStatus},
		{op: "KMSCreateKey (legacy)", method: "POST", path: "admin/v3/kms/key/create", sub: key, handler: (*Server).kmsCreateKey},
		{op: "KMSKeyStatus (legacy)", method: "GET", path: "admin/v3/kms/key/status", params: key, handler: (*Server).kmsKeyStatus},
	}
}

// accountRoutes manage users, groups and access keys.
func accountRoutes() []route {
	account := []string{"accessKey"}
	status := []string{"status"}
	list := []string{"listType", "all", "users"}
	return []route{
		{op: "AddUser", method: "PUT", path: "admin/v3/add-user", sub: account, body: secretBody, handler: (*Server).addUser},
		{op: "RemoveUser", method: "DELETE", path: "admin/v3/remove-user", sub: account, handler: (*Server).removeUser},
		{op: "SetUserStatus", method: "PUT", path: "admin/v3/set-user-status", sub: account, params: status, handler: (*Server).setUserStatus},
		{op: "ListUsers", method: "GET", path: "admin/v3/list-users", params: []string{"bucket"}, action: forward},
		{op: "UserInfo", method: "GET", path: "admin/v3/user-info", sub: account, action: forward},
		{op: "UpdateGroupMembers", method: "PUT", path: "admin/v3/update-group-members", body: policyBody, handler: (*Server).updateGroupMembers},
		{op: "GroupInfo", method: "GET", path: "admin/v3/group", sub: []string{"group"}, action: forward},
		{op: "ListGroups", method: "GET", path: "admin/v3/groups", action: forward},
		{op: "SetGroupStatus", method: "PUT", path: "admin/v3/set-group-status", sub: []string{"group"}, params: status, action: forward},

		{op: "AddServiceAccount", method: "PUT", path: "admin/v3/add-service-account", body: policyBody, handler: (*Server).addServiceAccount},
		{op: "UpdateServiceAccount", method: "POST", path: "admin/v3/update-service-account", sub: account, body: policyBody, handler: (*Server).updateServiceAccount},
		{op: "DeleteServiceAccount", method: "DELETE", path: "admin/v3/delete-service-account", sub: account, handler: (*Server).deleteServiceAccount},
		{op: "InfoServiceAccount", method: "GET", path: "admin/v3/info-service-account", sub: account, action: forward},
		{op: "ListServiceAccounts", method: "GET", path: "admin/v3/list-service-accounts", params: []string{"user"}, action: forward},
		{op: "ListAccessKeysBulk", method: "GET", path: "admin/v3/list-access-keys-bulk", params: list, action: forward},
		{op: "InfoAccessKey", method: "GET", path: "admin/v3/info-access-key", sub: account, action: forward},
		{op: "TemporaryAccountInfo", method: "GET", path: "admin/v3/temporary-account-info", sub: account, action: forward},
		{op: "RevokeTokens", method: "POST", path: "admin/v3/revoke-tokens/*", params: []string{"user", "tokenRevokeType", "fullRevoke"}, action: forward},
		{op: "AccountInfo", method: "GET", path: "admin/v3/accountinfo", params: []string{"prefix-usage"}, action: forward},
	}
}

// policyRoutes manage MinIO's policies, which decide what callers may.
func policyRoutes() []route {
	entities := []string{"user", "group", "policy", "userDN", "configName"}
	return []route{
		{op: "AddCannedPolicy", method: "PUT", path: "admin/v3/add-canned-policy", sub: []string{"name"}, action: forward, body: policyBody},
		{op: "RemoveCannedPolicy", method: "DELETE", path: "admin/v3/remove-canned-policy", sub: []string{"name"}, action: forward},
		{op: "InfoCannedPolicy", method: "GET", path: "admin/v3/info-canned-policy", sub: []string{"name"}, params: []string{"v"}, action: forward},
		{op: "ListCannedPolicies", method: "GET", path: "admin/v3/list-canned-policies", params: []string{"bucket"}, action: forward},
		{op: "SetPolicy", method: "PUT", path: "admin/v3/set-user-or-group-policy", sub: []string{"policyName", "userOrGroup", "isGroup"}, handler: (*Server).setPolicy},
		{op: "AttachPolicy", method: "POST", path: "admin/v3/idp/builtin/policy/attach", body: secretBody, handler: (*Server).changePolicies},
		{op: "DetachPolicy", method: "POST", path: "admin/v3/idp/builtin/policy/detach", body: secretBody, handler: (*Server).changePolicies},
		{op: "PolicyEntities", method: "GET", path: "admin/v3/idp/builtin/policy-entities", params: entities, action: forward},
		{op: "AttachPolicyLDAP", method: "POST", path: "admin/v3/idp/ldap/policy/attach", action: forward, body: secretBody},
		{op: "DetachPolicyLDAP", method: "POST", path: "admin/v3/idp/ldap/policy/detach", action: forward, body: secretBody},
		{op: "PolicyEntitiesLDAP", method: "GET", path: "admin/v3/idp/ldap/policy-entities", params: entities, action: forward},
		{op: "ListAccessKeysLDAPBulk", method: "GET", path: "admin/v3/idp/ldap/list-access-keys-bulk", params: []string{"listType", "all", "userDNs", "configName"}, action: forward},
		{op: "GetIDPConfig", method: "GET", path: "admin/v3/idp-config/*", action: forward},
		{op: "AddIDPConfig", method: "PUT", path: "admin/v3/idp-config/*", action: forward, body: secretBody},
		{op: "UpdateIDPConfig", method: "POST", path: "admin/v3/idp-config/*", action: forward, body: secretBody},
		{op: "DeleteIDPConfig", method: "DELETE", path: "admin/v3/idp-config/*", action: forward},
	}
}

// serverRoutes ask and steer the MinIO servers themselves.
func serverRoutes() []route {
	heal := []string{"clientToken", "forceStart", "forceStop"}
	pool := []string{"pool", "by-id"}
	return []route{
		{op: "ServerInfo", method: "GET", path: "admin/v3/info", params: []string{"metrics"}, action: forward},
		{op: "StorageInfo", method: "GET", path: "admin/v3/storageinfo", params: []string{"metrics"}, action: forward},
		{op: "DataUsageInfo", method: "GET", path: "admin/v3/datausageinfo", params: []string{"capacity"}, action: forward},
		{op: "ServerMetrics", method: "GET", path: "admin/v3/metrics", params: []string{"types", "n", "interval", "hosts", "by-host", "disks", "by-disk", "by-jobID", "by-depID"}, action: forward, stream: true},
		{op: "Service", method: "POST", path: "admin/v3/service", params: []string{"action", "type", "dry-run"}, action: forward},
		{op: "TopLocks", method: "GET", path: "admin/v3/top/locks", params: []string{"count", "stale"}, action: forward},
		{op: "Trace", method: "GET", path: "admin/v3/trace", params: traceParameters(), action: forward, stream: true},
		{op: "ConsoleLog", method: "GET", path: "admin/v3/log", params: []string{"node", "limit", "logType"}, action: forward, stream: true},
		{op: "BackgroundHealStatus", method: "POST", path: "admin/v3/background-heal/status", action: forward},
		{op: "Heal", method: "POST", path: "admin/v3/heal/*", params: heal, action: forward, body: smallBody},
		{op: "ListPools", method: "GET", path: "admin/v3/pools/list", action: forward},
		{op: "PoolStatus", method: "GET", path: "admin/v3/pools/status", params: pool, action: forward},
		{op: "DecommissionPool", method: "POST", path: "admin/v3/pools/decommission", params: pool, action: forward},
		{op: "CancelDecommission", method: "POST", path: "admin/v3/pools/cancel", params: pool, action: forward},
		{op: "StartRebalance", method: "POST", path: "admin/v3/rebalance/start", action: forward},
		{op: "RebalanceStatus", method: "GET", path: "admin/v3/rebalance/status", action: forward},
		{op: "StopRebalance", method: "POST", path: "admin/v3/rebalance/stop", action: forward},
	}
}

// traceParameters choose what Trace shows.
func traceParameters() []string {
	return []string{
		"all", "batch-expire", "batch-keyrotation", "batch-replication", "bootstrap", "decommission", "err", "formatting", "ftp", "healing", "ilm",
		"internal", "kms", "os", "rebalance", "replication-resync", "s3", "scanner", "storage", "threshold",
	}
}

// settingRoutes read and change MinIO's settings, and those of buckets.
func settingRoutes() []route {
	bucket := []string{"bucket"}
	return []route{
		{op: "SetBucketQuota", method: "PUT", path: "admin/v3/set-bucket-quota", sub: bucket, action: forward, body: smallBody},
		{op: "GetBucketQuota", method: "GET", path: "admin/v3/get-bucket-quota", sub: bucket, action: forward},
		{op: "ListRemoteTargets", method: "GET", path: "admin/v3/list-remote-targets", sub: bucket, params: []string{"type"}, action: forward},
		{op: "RemoveRemoteTarget", method: "DELETE", path: "admin/v3/remove-remote-target", sub: bucket, params: []string{"arn"}, action: forward},
		{op: "ExportBucketMetadata", method: "GET", path: "admin/v3/export-bucket-metadata", params: bucket, action: forward},

		{op: "GetConfigKV", method: "GET", path: "admin/v3/get-config-kv", sub: []string{"key"}, params: []string{"env"}, handler: (*Server).getConfigKV},
		{op: "SetConfigKV", method: "PUT", path: "admin/v3/set-config-kv", action: forward, body: policyBody},
		{op: "DelConfigKV", method: "DELETE", path: "admin/v3/del-config-kv", action: forward, body: policyBody},
		{op: "HelpConfigKV", method: "GET", path: "admin/v3/help-config-kv", params: []string{"subSys", "key", "env"}, action: forward},
		{op: "ListConfigHistory", method: "GET", path: "admin/v3/list-config-history-kv", params: []string{"count"}, action: forward},
		{op: "RestoreConfigHistory", method: "PUT", path: "admin/v3/restore-config-history-kv", sub: []string{"restoreId"}, action: forward},
		{op: "ClearConfigHistory", method: "DELETE", path: "admin/v3/clear-config-history-kv", sub: []string{"restoreId"}, action: forward},
		{op: "GetConfig", method: "GET", path: "admin/v3/config", action: forward},
		{op: "SetConfig", method: "PUT", path: "admin/v3/config", action: forward, body: jobBody},

		{op: "ListTiers", method: "GET", path: "admin/v3/tier", action: forward},
		{op: "TierStats", method: "GET", path: "admin/v3/tier-stats", action: forward},
		{op: "VerifyTier", method: "GET", path: "admin/v3/tier/*", action: forward},
		{op: "AddTier", method: "PUT", path: "admin/v3/tier", params: []string{"force"}, action: forward, body: secretBody},
		{op: "EditTier", method: "POST", path: "admin/v3/tier/*", action: forward, body: secretBody},
		{op: "RemoveTier", method: "DELETE", path: "admin/v3/tier/*", params: []string{"force"}, action: forward},

		{op: "ListBatchJobs", method: "GET", path: "admin/v3/list-jobs", params: []string{"jobType"}, action: forward},
		{op: "DescribeBatchJob", method: "GET", path: "admin/v3/describe-job", params: []string{"jobId"}, action: forward},
		{op: "BatchJobStatus", method: "GET", path: "admin/v3/status-job", params: []string{"jobId"}, action: forward},
		{op: "CancelBatchJob", method: "DELETE", path: "admin/v3/cancel-job", params: []string{"id"}, action: forward},
		{op: "GenerateBatchJob", method: "GET", path: "admin/v3/generate-job", params: []string{"jobType"}, action: forward},
		{op: "SiteReplicationInfo", method: "GET", path: "admin/v3/site-replication/info", params: []string{"api-version"}, action: forward},
		{op: "SiteReplicationStatus", method: "GET", path: "admin/v3/site-replication/status", params: siteStatusParameters(), action: forward},
	}
}

// siteStatusParameters choose what SiteReplicationStatus shows.
func siteStatusParameters() []string {
	return []string{
		"api-version", "buckets", "entity", "entityvalue", "groups", "ilm-expiry-rules", "metrics", "peer-state", "policies", "showDeleted", "users",
	}
}

// refusedAdminRoutes are known, and never reach MinIO through the proxy.
func refusedAdminRoutes() []route {
	return []route{
		{op: "StartBatchJob", method: "POST", path: "admin/v3/start-job", action: refuse, why: "batch jobs copy, rewrite and delete objects past the proxy"},
		{op: "SiteReplication", method: "GET", path: "admin/v3/site-replication/*", action: refuse, why: whyReplication},
		{op: "ChangeSiteReplication", method: "PUT", path: "admin/v3/site-replication/*", action: refuse, why: whyReplication},
		{op: "SetRemoteTarget", method: "PUT", path: "admin/v3/set-remote-target", action: refuse, why: whyReplication},
		{op: "ReplicationDiff", method: "POST", path: "admin/v3/replication/*", action: refuse, why: whyReplication},
		{op: "ImportBucketMetadata", method: "PUT", path: "admin/v3/import-bucket-metadata", action: refuse, why: whyPastProxy},
		{op: "ExportIAM", method: "GET", path: "admin/v3/export-iam", action: refuse, why: "its answer holds the secrets of all users, readable"},
		{op: "ImportIAM", method: "PUT", path: "admin/v3/import-iam", action: refuse, why: "the proxy would not know the credentials in it"},
		{op: "ImportIAMV2", method: "PUT", path: "admin/v3/import-iam-v2", action: refuse, why: "the proxy would not know the credentials in it"},
		{op: "InspectData", method: "GET", path: "admin/v3/inspect-data", action: refuse, why: "it reads files from MinIO's disks, its users' secrets and the proxy's own bucket among them"},
		{op: "InspectDataPost", method: "POST", path: "admin/v3/inspect-data", action: refuse, why: "it reads files from MinIO's disks, its users' secrets and the proxy's own bucket among them"},
		{op: "Profile", method: "POST", path: "admin/v3/profile", action: refuse, why: "it shows the memory of MinIO's process: run it there"},
		{op: "HealthInfo", method: "GET", path: "admin/v3/healthinfo", action: refuse, why: "it gathers all there is to know of MinIO's machines for others to read: run it there"},
		{op: "AddServiceAccountLDAP", method: "PUT", path: "admin/v3/idp/ldap/add-service-account", action: refuse, why: whyLDAP},
		{op: "Speedtest", method: "POST", path: "admin/v3/speedtest", action: refuse, why: whyMeasure},
		{op: "SpeedtestKind", method: "POST", path: "admin/v3/speedtest/*", action: refuse, why: whyMeasure},
		{op: "ServerUpdate", method: "POST", path: "admin/v3/update", action: refuse, why: "it replaces MinIO's program: do that where it runs"},
	}
}

// metricsRoutes are MinIO's, for scrapers that carry a bearer token.
func metricsRoutes() []route {
	return []route{
		{op: "MetricsV2", method: "GET", path: "v2/metrics/*", handler: (*Server).minioMetrics, bearer: true},
		{op: "MetricsV3", method: "GET", path: "metrics/v3", params: []string{"buckets", "list"}, handler: (*Server).minioMetrics, bearer: true},
		{op: "MetricsV3Path", method: "GET", path: "metrics/v3/*", params: []string{"buckets", "list"}, handler: (*Server).minioMetrics, bearer: true},
		{op: "MetricsV1", method: "GET", path: "prometheus/metrics", handler: (*Server).minioMetrics, bearer: true},
	}
}
