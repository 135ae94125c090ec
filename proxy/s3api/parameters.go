package s3api

import (
	"net/http"
	"strings"
)

// otherParameters are those that AWS S3 or MinIO know and no route of the table
// names. A request that has one asks for another operation than it would get
// without.
var otherParameters = []string{
	// AWS S3: sub-resources and what selects among them.
	"abac", "analytics", "annotation", "annotations", "append", "intelligent-tiering", "inventory",
	"metadataConfiguration", "metadataInventoryTable", "metadataJournalTable", "metadataTable", "metrics", "object-lambda", "ownershipControls",
	"publicAccessBlock", "renameObject", "response-x-amz-checksum-mode", "select", "select-type", "session", "updateEncryption",
	"versioning", "website", "writeOffset", "writeOffsetBytes",
	// MinIO's own.
	"checkinactive", "force-delete", "forceCreate", "forceDelete", "lambdaArn", "list-buckets-versions", "replication-check", "replication-metrics",
	"replication-reset", "replication-reset-status", "snowball",
	// What MinIO's policy conditions would believe.
	"SourceIp", "UserAgent", "Referer", "SecureTransport", "CurrentTime", "EpochTime", "authType", "signatureAge", "signatureversion",
	"username", "userid", "principaltype", "groups", "LocationConstraint", "object-lock-mode", "object-lock-legal-hold",
	"object-lock-retain-until-date", "object-lock-remaining-retention-days",
}

// isOwnParameter says whether a parameter is one that clients add for their own
// logs: AWS ignores names that begin with x-, and writes them to its access log.
// Those that begin with x-amz- or x-minio- stand for headers, or may at MinIO.
func isOwnParameter(name string) bool {
	lower := strings.ToLower(name)
	return strings.HasPrefix(lower, "x-") && !strings.HasPrefix(lower, "x-amz-") && !strings.HasPrefix(lower, "x-minio-")
}

// ignores says whether a parameter that the route does not name is dropped, as S3
// and MinIO drop it. On reads that is every one that means nothing to either
// (cache busters, utm_source); on writes it is those that clients add for their logs. What
// means another operation is never dropped.
func (t *routeTable) ignores(r *row, name string) bool {
	if t.known[strings.ToLower(name)] {
		return false
	}
	if isOwnParameter(name) {
		return true
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead || name == "" {
		return false
	}
	for _, prefix := range []string{"x-amz-", "x-minio-", "existingobjecttag/", "requestobjecttag", "jwt:", "ldap:"} {
		if strings.HasPrefix(strings.ToLower(name), prefix) {
			return false
		}
	}
	return true
}

// knownParameters are the names, in small letters, of all parameters that mean
// something somewhere.
func knownParameters(rows []row) map[string]bool {
	known := make(map[string]bool)
	for i := range rows {
		for _, condition := range rows[i].Sub {
			name, _, _ := strings.Cut(condition, "=")
			known[strings.ToLower(name)] = true
		}
		for _, name := range rows[i].Params {
			known[strings.ToLower(name)] = true
		}
	}
	for _, name := range otherParameters {
		known[strings.ToLower(name)] = true
	}
	return known
}
