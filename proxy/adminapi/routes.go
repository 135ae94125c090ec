package adminapi

import (
	"net/http"

	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/route"
)

// row is one operation of MinIO's API.
type row = route.Row[func(*API, http.ResponseWriter, *intake.Request) error]

const (
	smallBody  = 64 << 10 // a short document
	policyBody = 1 << 20  // a policy
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

// Routes is what the proxy takes of MinIO's admin API, its KMS API and its
// metrics. What is not in it is refused. Paths begin below /minio/; a path that
// ends in /* stands for all below it. docs/compatibility.md is checked against it.
func Routes() []route.Row[func(*API, http.ResponseWriter, *intake.Request) error] {
	var all []row
	for _, rows := range [][]row{keyRoutes(), accountRoutes(), policyRoutes(), serverRoutes(), settingRoutes(), batchRoutes(), refusedAdminRoutes(), metricsRoutes()} {
		all = append(all, rows...)
	}
	return all
}

// keyRoutes are answered by the proxy's key service, for those who may.
func keyRoutes() []row {
	key := []string{"key-id"}
	return []row{
		{Op: "KMSStatus", Method: "GET", Path: "kms/v1/status", Handler: (*API).kmsStatus},
		{Op: "KMSMetrics", Method: "GET", Path: "kms/v1/metrics", Handler: (*API).kmsMetrics},
		{Op: "KMSAPIs", Method: "GET", Path: "kms/v1/apis", Handler: (*API).kmsAPIs},
		{Op: "KMSVersion", Method: "GET", Path: "kms/v1/version", Handler: (*API).kmsVersion},
		{Op: "KMSCreateKey", Method: "POST", Path: "kms/v1/key/create", Sub: key, Handler: (*API).kmsCreateKey},
		{Op: "KMSKeyStatus", Method: "GET", Path: "kms/v1/key/status", Params: key, Handler: (*API).kmsKeyStatus},
		{Op: "KMSListKeys", Method: "GET", Path: "kms/v1/key/list", Sub: []string{"pattern"}, Handler: (*API).kmsListKeys},
		{Op: "KMSDeleteKey", Method: "DELETE", Path: "kms/v1/key/delete", Action: route.Refuse, Why: whyKeyTool},
		{Op: "KMSImportKey", Method: "POST", Path: "kms/v1/key/import", Action: route.Refuse, Why: whyKeyTool},

		{Op: "KMSStatus (legacy)", Method: "POST", Path: "admin/v3/kms/status", Handler: (*API).kmsStatus},
		{Op: "KMSCreateKey (legacy)", Method: "POST", Path: "admin/v3/kms/key/create", Sub: key, Handler: (*API).kmsCreateKey},
		{Op: "KMSKeyStatus (legacy)", Method: "GET", Path: "admin/v3/kms/key/status", Params: key, Handler: (*API).kmsKeyStatus},
	}
}

// accountRoutes manage users, groups and access keys.
func accountRoutes() []row {
	account := []string{"accessKey"}
	status := []string{"status"}
	list := []string{"listType", "all", "users"}
	return []row{
		{Op: "AddUser", Method: "PUT", Path: "admin/v3/add-user", Sub: account, Body: secretBody, Handler: (*API).addUser},
		{Op: "RemoveUser", Method: "DELETE", Path: "admin/v3/remove-user", Sub: account, Handler: (*API).removeUser},
		{Op: "SetUserStatus", Method: "PUT", Path: "admin/v3/set-user-status", Sub: account, Params: status, Handler: (*API).setUserStatus},
		{Op: "ListUsers", Method: "GET", Path: "admin/v3/list-users", Params: []string{"bucket"}, Action: route.Forward},
		{Op: "UserInfo", Method: "GET", Path: "admin/v3/user-info", Sub: account, Action: route.Forward},
		{Op: "UpdateGroupMembers", Method: "PUT", Path: "admin/v3/update-group-members", Body: policyBody, Handler: (*API).updateGroupMembers},
		{Op: "GroupInfo", Method: "GET", Path: "admin/v3/group", Sub: []string{"group"}, Action: route.Forward},
		{Op: "ListGroups", Method: "GET", Path: "admin/v3/groups", Action: route.Forward},
		{Op: "SetGroupStatus", Method: "PUT", Path: "admin/v3/set-group-status", Sub: []string{"group"}, Params: status, Action: route.Forward},

		{Op: "AddServiceAccount", Method: "PUT", Path: "admin/v3/add-service-account", Body: policyBody, Handler: (*API).addServiceAccount},
		{Op: "UpdateServiceAccount", Method: "POST", Path: "admin/v3/update-service-account", Sub: account, Body: policyBody, Handler: (*API).updateServiceAccount},
		{Op: "DeleteServiceAccount", Method: "DELETE", Path: "admin/v3/delete-service-account", Sub: account, Handler: (*API).deleteServiceAccount},
		{Op: "InfoServiceAccount", Method: "GET", Path: "admin/v3/info-service-account", Sub: account, Action: route.Forward},
		{Op: "ListServiceAccounts", Method: "GET", Path: "admin/v3/list-service-accounts", Params: []string{"user"}, Action: route.Forward},
		{Op: "ListAccessKeysBulk", Method: "GET", Path: "admin/v3/list-access-keys-bulk", Params: list, Action: route.Forward},
		{Op: "InfoAccessKey", Method: "GET", Path: "admin/v3/info-access-key", Sub: account, Action: route.Forward},
		{Op: "TemporaryAccountInfo", Method: "GET", Path: "admin/v3/temporary-account-info", Sub: account, Action: route.Forward},
		{Op: "RevokeTokens", Method: "POST", Path: "admin/v3/revoke-tokens/*", Params: []string{"user", "tokenRevokeType", "fullRevoke"}, Action: route.Forward},
		{Op: "AccountInfo", Method: "GET", Path: "admin/v3/accountinfo", Params: []string{"prefix-usage"}, Action: route.Forward},
	}
}

// policyRoutes manage MinIO's policies, which decide what callers may.
func policyRoutes() []row {
	entities := []string{"user", "group", "policy", "userDN", "configName"}
	return []row{
		{Op: "AddCannedPolicy", Method: "PUT", Path: "admin/v3/add-canned-policy", Sub: []string{"name"}, Action: route.Forward, Body: policyBody},
		{Op: "RemoveCannedPolicy", Method: "DELETE", Path: "admin/v3/remove-canned-policy", Sub: []string{"name"}, Action: route.Forward},
		{Op: "InfoCannedPolicy", Method: "GET", Path: "admin/v3/info-canned-policy", Sub: []string{"name"}, Params: []string{"v"}, Action: route.Forward},
		{Op: "ListCannedPolicies", Method: "GET", Path: "admin/v3/list-canned-policies", Params: []string{"bucket"}, Action: route.Forward},
		{Op: "SetPolicy", Method: "PUT", Path: "admin/v3/set-user-or-group-policy", Sub: []string{"policyName", "userOrGroup", "isGroup"}, Handler: (*API).setPolicy},
		{Op: "AttachPolicy", Method: "POST", Path: "admin/v3/idp/builtin/policy/attach", Body: secretBody, Handler: (*API).changePolicies},
		{Op: "DetachPolicy", Method: "POST", Path: "admin/v3/idp/builtin/policy/detach", Body: secretBody, Handler: (*API).changePolicies},
		{Op: "PolicyEntities", Method: "GET", Path: "admin/v3/idp/builtin/policy-entities", Params: entities, Action: route.Forward},
		{Op: "AttachPolicyLDAP", Method: "POST", Path: "admin/v3/idp/ldap/policy/attach", Action: route.Forward, Body: secretBody},
		{Op: "DetachPolicyLDAP", Method: "POST", Path: "admin/v3/idp/ldap/policy/detach", Action: route.Forward, Body: secretBody},
		{Op: "PolicyEntitiesLDAP", Method: "GET", Path: "admin/v3/idp/ldap/policy-entities", Params: entities, Action: route.Forward},
		{Op: "ListAccessKeysLDAPBulk", Method: "GET", Path: "admin/v3/idp/ldap/list-access-keys-bulk", Params: []string{"listType", "all", "userDNs", "configName"}, Action: route.Forward},
		{Op: "GetIDPConfig", Method: "GET", Path: "admin/v3/idp-config/*", Action: route.Forward},
		{Op: "AddIDPConfig", Method: "PUT", Path: "admin/v3/idp-config/*", Action: route.Forward, Body: secretBody},
		{Op: "UpdateIDPConfig", Method: "POST", Path: "admin/v3/idp-config/*", Action: route.Forward, Body: secretBody},
		{Op: "DeleteIDPConfig", Method: "DELETE", Path: "admin/v3/idp-config/*", Action: route.Forward},
	}
}

// serverRoutes ask and steer the MinIO servers themselves.
func serverRoutes() []row {
	heal := []string{"clientToken", "forceStart", "forceStop"}
	pool := []string{"pool", "by-id"}
	return []row{
		{Op: "ServerInfo", Method: "GET", Path: "admin/v3/info", Params: []string{"metrics"}, Action: route.Forward},
		{Op: "StorageInfo", Method: "GET", Path: "admin/v3/storageinfo", Params: []string{"metrics"}, Action: route.Forward},
		{Op: "DataUsageInfo", Method: "GET", Path: "admin/v3/datausageinfo", Params: []string{"capacity"}, Action: route.Forward},
		{Op: "Service", Method: "POST", Path: "admin/v3/service", Params: []string{"action", "type", "dry-run"}, Action: route.Forward},
		{Op: "TopLocks", Method: "GET", Path: "admin/v3/top/locks", Params: []string{"count", "stale"}, Action: route.Forward},
		{Op: "Trace", Method: "GET", Path: "admin/v3/trace", Params: traceParameters(), Action: route.Forward, Stream: true},
		{Op: "ConsoleLog", Method: "GET", Path: "admin/v3/log", Params: []string{"node", "limit", "logType"}, Action: route.Forward, Stream: true},
		{Op: "BackgroundHealStatus", Method: "POST", Path: "admin/v3/background-heal/status", Action: route.Forward},
		{Op: "Heal", Method: "POST", Path: "admin/v3/heal/*", Params: heal, Action: route.Forward, Body: smallBody},
		{Op: "ListPools", Method: "GET", Path: "admin/v3/pools/list", Action: route.Forward},
		{Op: "PoolStatus", Method: "GET", Path: "admin/v3/pools/status", Params: pool, Action: route.Forward},
		{Op: "DecommissionPool", Method: "POST", Path: "admin/v3/pools/decommission", Params: pool, Action: route.Forward},
		{Op: "CancelDecommission", Method: "POST", Path: "admin/v3/pools/cancel", Params: pool, Action: route.Forward},
		{Op: "StartRebalance", Method: "POST", Path: "admin/v3/rebalance/start", Action: route.Forward},
		{Op: "RebalanceStatus", Method: "GET", Path: "admin/v3/rebalance/status", Action: route.Forward},
		{Op: "StopRebalance", Method: "POST", Path: "admin/v3/rebalance/stop", Action: route.Forward},
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
func settingRoutes() []row {
	bucket := []string{"bucket"}
	return []row{
		{Op: "SetBucketQuota", Method: "PUT", Path: "admin/v3/set-bucket-quota", Sub: bucket, Action: route.Forward, Body: smallBody},
		{Op: "GetBucketQuota", Method: "GET", Path: "admin/v3/get-bucket-quota", Sub: bucket, Action: route.Forward},
		{Op: "ListRemoteTargets", Method: "GET", Path: "admin/v3/list-remote-targets", Sub: bucket, Params: []string{"type"}, Action: route.Forward},
		{Op: "RemoveRemoteTarget", Method: "DELETE", Path: "admin/v3/remove-remote-target", Sub: bucket, Params: []string{"arn"}, Action: route.Forward},
		{Op: "ExportBucketMetadata", Method: "GET", Path: "admin/v3/export-bucket-metadata", Params: bucket, Action: route.Forward},

		{Op: "GetConfigKV", Method: "GET", Path: "admin/v3/get-config-kv", Sub: []string{"key"}, Params: []string{"env"}, Handler: (*API).getConfigKV},
		{Op: "SetConfigKV", Method: "PUT", Path: "admin/v3/set-config-kv", Action: route.Forward, Body: policyBody},
		{Op: "DelConfigKV", Method: "DELETE", Path: "admin/v3/del-config-kv", Action: route.Forward, Body: policyBody},
		{Op: "HelpConfigKV", Method: "GET", Path: "admin/v3/help-config-kv", Params: []string{"subSys", "key", "env"}, Action: route.Forward},
		{Op: "ListConfigHistory", Method: "GET", Path: "admin/v3/list-config-history-kv", Params: []string{"count"}, Action: route.Forward},
		{Op: "RestoreConfigHistory", Method: "PUT", Path: "admin/v3/restore-config-history-kv", Sub: []string{"restoreId"}, Action: route.Forward},
		{Op: "ClearConfigHistory", Method: "DELETE", Path: "admin/v3/clear-config-history-kv", Sub: []string{"restoreId"}, Action: route.Forward},
		{Op: "GetConfig", Method: "GET", Path: "admin/v3/config", Action: route.Forward},
		{Op: "SetConfig", Method: "PUT", Path: "admin/v3/config", Action: route.Forward, Body: jobBody},

		{Op: "ListTiers", Method: "GET", Path: "admin/v3/tier", Action: route.Forward},
		{Op: "TierStats", Method: "GET", Path: "admin/v3/tier-stats", Action: route.Forward},
		{Op: "VerifyTier", Method: "GET", Path: "admin/v3/tier/*", Action: route.Forward},
		{Op: "AddTier", Method: "PUT", Path: "admin/v3/tier", Params: []string{"force"}, Action: route.Forward, Body: secretBody},
		{Op: "EditTier", Method: "POST", Path: "admin/v3/tier/*", Action: route.Forward, Body: secretBody},
		{Op: "RemoveTier", Method: "DELETE", Path: "admin/v3/tier/*", Params: []string{"force"}, Action: route.Forward},

		{Op: "SiteReplicationInfo", Method: "GET", Path: "admin/v3/site-replication/info", Params: []string{"api-version"}, Action: route.Forward},
		{Op: "SiteReplicationStatus", Method: "GET", Path: "admin/v3/site-replication/status", Params: siteStatusParameters(), Action: route.Forward},
	}
}

// siteStatusParameters choose what SiteReplicationStatus shows.
func siteStatusParameters() []string {
	return []string{
		"api-version", "buckets", "entity", "entityvalue", "groups", "ilm-expiry-rules", "metrics", "peer-state", "policies", "showDeleted", "users",
	}
}

// refusedAdminRoutes are known, and never reach MinIO through the proxy.
func refusedAdminRoutes() []row {
	return []row{
		{Op: "SiteReplication", Method: "GET", Path: "admin/v3/site-replication/*", Action: route.Refuse, Why: whyReplication},
		{Op: "ChangeSiteReplication", Method: "PUT", Path: "admin/v3/site-replication/*", Action: route.Refuse, Why: whyReplication},
		{Op: "SetRemoteTarget", Method: "PUT", Path: "admin/v3/set-remote-target", Action: route.Refuse, Why: whyReplication},
		{Op: "ReplicationDiff", Method: "POST", Path: "admin/v3/replication/*", Action: route.Refuse, Why: whyReplication},
		{Op: "ImportBucketMetadata", Method: "PUT", Path: "admin/v3/import-bucket-metadata", Action: route.Refuse, Why: whyPastProxy},
		{Op: "ExportIAM", Method: "GET", Path: "admin/v3/export-iam", Action: route.Refuse, Why: "its answer holds the secrets of all users, readable"},
		{Op: "ImportIAM", Method: "PUT", Path: "admin/v3/import-iam", Action: route.Refuse, Why: "the proxy would not know the credentials in it"},
		{Op: "ImportIAMV2", Method: "PUT", Path: "admin/v3/import-iam-v2", Action: route.Refuse, Why: "the proxy would not know the credentials in it"},
		{Op: "InspectData", Method: "GET", Path: "admin/v3/inspect-data", Action: route.Refuse, Why: "it reads files from MinIO's disks, its users' secrets and the proxy's own bucket among them"},
		{Op: "InspectDataPost", Method: "POST", Path: "admin/v3/inspect-data", Action: route.Refuse, Why: "it reads files from MinIO's disks, its users' secrets and the proxy's own bucket among them"},
		{Op: "Profile", Method: "POST", Path: "admin/v3/profile", Action: route.Refuse, Why: "it shows the memory of MinIO's process: run it there"},
		{Op: "HealthInfo", Method: "GET", Path: "admin/v3/healthinfo", Action: route.Refuse, Why: "it gathers all there is to know of MinIO's machines for others to read: run it there"},
		{Op: "AddServiceAccountLDAP", Method: "PUT", Path: "admin/v3/idp/ldap/add-service-account", Action: route.Refuse, Why: whyLDAP},
		{Op: "Speedtest", Method: "POST", Path: "admin/v3/speedtest", Action: route.Refuse, Why: whyMeasure},
		{Op: "SpeedtestKind", Method: "POST", Path: "admin/v3/speedtest/*", Action: route.Refuse, Why: whyMeasure},
		{Op: "ServerUpdate", Method: "POST", Path: "admin/v3/update", Action: route.Refuse, Why: "it replaces MinIO's program: do that where it runs"},
	}
}

// metricsRoutes are MinIO's, for scrapers that carry a bearer token.
func metricsRoutes() []row {
	return []row{
		{Op: "MetricsV2", Method: "GET", Path: "v2/metrics/*", Handler: (*API).minioMetrics, Bearer: true},
		{Op: "MetricsV3", Method: "GET", Path: "metrics/v3", Params: []string{"buckets", "list"}, Handler: (*API).minioMetrics, Bearer: true},
		{Op: "MetricsV3Path", Method: "GET", Path: "metrics/v3/*", Params: []string{"buckets", "list"}, Handler: (*API).minioMetrics, Bearer: true},
		{Op: "MetricsV1", Method: "GET", Path: "prometheus/metrics", Handler: (*API).minioMetrics, Bearer: true},
	}
}
