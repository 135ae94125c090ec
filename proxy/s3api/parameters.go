package s3api

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
