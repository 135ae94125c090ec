package proxy

import (
	"net/http"
	"slices"
)

// scope is what a request's path names.
type scope int

const (
	scopeService scope = iota // /
	scopeBucket               // /bucket and /bucket/
	scopeObject               // /bucket/key
	scopeAdmin                // below /minio/: adminRoutes
)

// action is what happens to a request of a route.
type action int

const (
	// translate: the proxy answers, asking upstream in its own words.
	translate action = iota
	// forward: the request goes upstream as it is, signed anew as its caller.
	forward
	// refuse: NotImplemented; upstream never sees it.
	refuse
)

func (a action) String() string {
	return [...]string{"translate", "forward", "refuse"}[a]
}

// route is one S3 operation.
type route struct {
	// op is the operation's name in S3's documentation.
	op string
	// scope, method, sub and header select the route. sub names the query
	// parameters that must be present, NAME or NAME=VALUE; header a request
	// header that must be there.
	scope  scope
	method string
	sub    []string
	header string
	// path selects an admin route: below /minio/, and all below it if it ends in /*.
	path   string
	action action
	// params are the further query parameters the route accepts. Any other makes
	// the request one that this table does not know.
	params []string
	// body is the largest body in bytes that is read into memory to be checked
	// and forwarded; 0 means that the route has none, or streams it.
	body int64
	// headers are request headers that go upstream besides those of every
	// forwarded request.
	headers []string
	// handler serves translated routes.
	handler func(*Server, http.ResponseWriter, *request) error
	// stream hands every piece of the answer on at once: it may never end.
	stream bool
	// bearer marks a route whose handler verifies a bearer token instead of a
	// signature.
	bearer bool
	// unplaced marks a route whose handler takes the request's place itself, once it
	// knows who asks.
	unplaced bool
	// why is said to the client of a refused route, and in docs/compatibility.md.
	why string
}

const (
	smallBody  = 64 << 10 // a short XML document
	policyBody = 1 << 20  // a policy, a lifecycle configuration
	deleteBody = 4 << 20  // 1,000 keys of 1,024 bytes and their tags
)

// routes is the whole S3 surface. What is not in it is refused; MinIO itself
// takes unknown sub-resources for plain requests. docs/compatibility.md is
// checked against it.
func routes() []route {
	return slices.Concat(serviceRoutes(), stsRoutes(), bucketRoutes(), objectRoutes())
}

func serviceRoutes() []route {
	return []route{
		{op: "ListBuckets", scope: scopeService, method: "GET", handler: (*Server).listBuckets, params: []string{"max-buckets", "prefix", "continuation-token", "bucket-region"}},
		{op: "ListenNotification", scope: scopeService, method: "GET", sub: []string{"events"}, action: refuse, params: []string{"prefix", "suffix", "ping"}, why: "events show what lies upstream, not what clients wrote"},
	}
}

// stsRoutes are the actions of the Security Token Service. Their parameters are in
// the form, or in the query.
func stsRoutes() []route {
	common := []string{"Version", "DurationSeconds", "Policy", "RoleArn", "RoleSessionName", "TokenRevokeType"}
	with := func(names ...string) []string { return append(names, common...) }
	return []route{
		{op: "AssumeRole", scope: scopeService, method: "POST", sub: []string{"Action=AssumeRole"}, params: with("ExternalId"), handler: (*Server).assumeRole},
		{op: "AssumeRoleWithWebIdentity", scope: scopeService, method: "POST", sub: []string{"Action=AssumeRoleWithWebIdentity"}, params: with("WebIdentityToken", "WebIdentityAccessToken"), handler: (*Server).assumeRole},
		{op: "AssumeRoleWithClientGrants", scope: scopeService, method: "POST", sub: []string{"Action=AssumeRoleWithClientGrants"}, params: with("Token"), handler: (*Server).assumeRole},
		{op: "AssumeRoleWithLDAPIdentity", scope: scopeService, method: "POST", sub: []string{"Action=AssumeRoleWithLDAPIdentity"}, params: with("LDAPUsername", "LDAPPassword"), handler: (*Server).assumeRole},
		{op: "AssumeRoleWithCustomToken", scope: scopeService, method: "POST", sub: []string{"Action=AssumeRoleWithCustomToken"}, params: with("Token"), handler: (*Server).assumeRole},
		{op: "AssumeRoleWithCertificate", scope: scopeService, method: "POST", sub: []string{"Action=AssumeRoleWithCertificate"}, action: refuse, params: with(), why: "the client's certificate ends at the proxy, and MinIO would see the proxy's"},
	}
}

func bucketRoutes() []route {
	listV1 := []string{"prefix", "delimiter", "marker", "max-keys", "encoding-type", "start-after", "fetch-owner"}
	listV2 := []string{"prefix", "delimiter", "start-after", "continuation-token", "max-keys", "encoding-type", "fetch-owner", "metadata", "marker"}
	return []route{
		{op: "ListObjects", scope: scopeBucket, method: "GET", params: listV1, handler: (*Server).listObjectsV1},
		{op: "ListObjectsV2", scope: scopeBucket, method: "GET", sub: []string{"list-type=2"}, params: listV2, handler: (*Server).listObjectsV2},
		{op: "ListObjectVersions", scope: scopeBucket, method: "GET", sub: []string{"versions"}, handler: (*Server).listObjectVersions, params: []string{"prefix", "delimiter", "key-marker", "version-id-marker", "max-keys", "encoding-type", "metadata"}},
		{op: "ListMultipartUploads", scope: scopeBucket, method: "GET", sub: []string{"uploads"}, handler: (*Server).listMultipartUploads, params: []string{"prefix", "delimiter", "key-marker", "upload-id-marker", "max-uploads", "encoding-type"}},

		{op: "CreateBucket", scope: scopeBucket, method: "PUT", action: forward, body: smallBody, headers: []string{"X-Amz-Bucket-Object-Lock-Enabled", "X-Amz-Acl"}},
		{op: "HeadBucket", scope: scopeBucket, method: "HEAD", action: forward},
		{op: "DeleteBucket", scope: scopeBucket, method: "DELETE", handler: (*Server).deleteBucket},
		{op: "DeleteObjects", scope: scopeBucket, method: "POST", sub: []string{"delete"}, action: forward, body: deleteBody, headers: []string{"X-Amz-Bypass-Governance-Retention", "X-Amz-Mfa"}},
		{op: "PostObject", scope: scopeBucket, method: "POST", handler: (*Server).postObject, unplaced: true},

		{op: "GetBucketEncryption", scope: scopeBucket, method: "GET", sub: []string{"encryption"}, handler: (*Server).getBucketEncryption},
		{op: "PutBucketEncryption", scope: scopeBucket, method: "PUT", sub: []string{"encryption"}, body: smallBody, handler: (*Server).putBucketEncryption},
		{op: "DeleteBucketEncryption", scope: scopeBucket, method: "DELETE", sub: []string{"encryption"}, handler: (*Server).deleteBucketEncryption},

		{op: "GetBucketLocation", scope: scopeBucket, method: "GET", sub: []string{"location"}, action: forward},
		{op: "GetBucketVersioning", scope: scopeBucket, method: "GET", sub: []string{"versioning"}, action: forward},
		{op: "PutBucketVersioning", scope: scopeBucket, method: "PUT", sub: []string{"versioning"}, action: forward, body: smallBody, headers: []string{"X-Amz-Mfa"}},
		{op: "GetBucketPolicy", scope: scopeBucket, method: "GET", sub: []string{"policy"}, action: forward},
		{op: "PutBucketPolicy", scope: scopeBucket, method: "PUT", sub: []string{"policy"}, handler: (*Server).putBucketPolicy, body: policyBody, headers: []string{"X-Amz-Confirm-Remove-Self-Bucket-Access"}},
		{op: "DeleteBucketPolicy", scope: scopeBucket, method: "DELETE", sub: []string{"policy"}, handler: (*Server).deleteBucketPolicy},
		{op: "GetBucketPolicyStatus", scope: scopeBucket, method: "GET", sub: []string{"policyStatus"}, action: forward},
		{op: "GetBucketLifecycle", scope: scopeBucket, method: "GET", sub: []string{"lifecycle"}, action: forward, params: []string{"withUpdatedAt"}},
		{op: "PutBucketLifecycle", scope: scopeBucket, method: "PUT", sub: []string{"lifecycle"}, action: forward, body: policyBody},
		{op: "DeleteBucketLifecycle", scope: scopeBucket, method: "DELETE", sub: []string{"lifecycle"}, action: forward},
		{op: "GetObjectLockConfiguration", scope: scopeBucket, method: "GET", sub: []string{"object-lock"}, action: forward},
		{op: "PutObjectLockConfiguration", scope: scopeBucket, method: "PUT", sub: []string{"object-lock"}, action: forward, body: smallBody, headers: []string{"X-Amz-Bucket-Object-Lock-Token"}},
		{op: "GetBucketTagging", scope: scopeBucket, method: "GET", sub: []string{"tagging"}, action: forward},
		{op: "PutBucketTagging", scope: scopeBucket, method: "PUT", sub: []string{"tagging"}, action: forward, body: smallBody},
		{op: "DeleteBucketTagging", scope: scopeBucket, method: "DELETE", sub: []string{"tagging"}, action: forward},
		{op: "GetBucketNotification", scope: scopeBucket, method: "GET", sub: []string{"notification"}, action: forward},
		{op: "PutBucketNotification", scope: scopeBucket, method: "PUT", sub: []string{"notification"}, action: forward, body: policyBody},
		{op: "ListenBucketNotification", scope: scopeBucket, method: "GET", sub: []string{"events"}, action: refuse, params: []string{"prefix", "suffix", "ping"}, why: "events show what lies upstream, not what clients wrote"},
		{op: "GetBucketReplication", scope: scopeBucket, method: "GET", sub: []string{"replication"}, action: forward},
		{op: "PutBucketReplication", scope: scopeBucket, method: "PUT", sub: []string{"replication"}, action: refuse, why: "replication would copy ciphertext past the proxy"},
		{op: "DeleteBucketReplication", scope: scopeBucket, method: "DELETE", sub: []string{"replication"}, action: forward},
		{op: "GetBucketAcl", scope: scopeBucket, method: "GET", sub: []string{"acl"}, action: forward},
		{op: "PutBucketAcl", scope: scopeBucket, method: "PUT", sub: []string{"acl"}, action: forward, body: smallBody, headers: []string{"X-Amz-Acl"}},
		{op: "GetBucketCors", scope: scopeBucket, method: "GET", sub: []string{"cors"}, action: forward},
		{op: "PutBucketCors", scope: scopeBucket, method: "PUT", sub: []string{"cors"}, action: forward, body: smallBody},
		{op: "DeleteBucketCors", scope: scopeBucket, method: "DELETE", sub: []string{"cors"}, action: forward},
		{op: "GetBucketWebsite", scope: scopeBucket, method: "GET", sub: []string{"website"}, action: forward},
		{op: "DeleteBucketWebsite", scope: scopeBucket, method: "DELETE", sub: []string{"website"}, action: forward},
		{op: "GetBucketAccelerate", scope: scopeBucket, method: "GET", sub: []string{"accelerate"}, action: forward},
		{op: "GetBucketRequestPayment", scope: scopeBucket, method: "GET", sub: []string{"requestPayment"}, action: forward},
		{op: "GetBucketLogging", scope: scopeBucket, method: "GET", sub: []string{"logging"}, action: forward},
	}
}

func objectRoutes() []route {
	read := []string{
		"versionId", "partNumber", "response-content-type", "response-content-language", "response-expires",
		"response-cache-control", "response-content-disposition", "response-content-encoding",
	}
	version := []string{"versionId"}
	return []route{
		{op: "GetObject", scope: scopeObject, method: "GET", params: read, handler: (*Server).getObject},
		{op: "HeadObject", scope: scopeObject, method: "HEAD", params: read, handler: (*Server).getObject},
		{op: "PutObject", scope: scopeObject, method: "PUT", handler: (*Server).putObject},
		{op: "DeleteObject", scope: scopeObject, method: "DELETE", handler: (*Server).deleteObject, params: version, headers: []string{"X-Amz-Bypass-Governance-Retention", "X-Amz-Mfa"}},
		{op: "CopyObject", scope: scopeObject, method: "PUT", header: "X-Amz-Copy-Source", handler: (*Server).copyObject},
		{op: "GetObjectAttributes", scope: scopeObject, method: "GET", sub: []string{"attributes"}, params: version, handler: (*Server).getObjectAttributes},

		{op: "CreateMultipartUpload", scope: scopeObject, method: "POST", sub: []string{"uploads"}, handler: (*Server).createMultipartUpload},
		{op: "UploadPart", scope: scopeObject, method: "PUT", sub: []string{"uploadId", "partNumber"}, handler: (*Server).uploadPart},
		{op: "UploadPartCopy", scope: scopeObject, method: "PUT", sub: []string{"uploadId", "partNumber"}, header: "X-Amz-Copy-Source", handler: (*Server).uploadPartCopy},
		{op: "CompleteMultipartUpload", scope: scopeObject, method: "POST", sub: []string{"uploadId"}, body: maxCompleteBody, handler: (*Server).completeMultipartUpload},
		{op: "AbortMultipartUpload", scope: scopeObject, method: "DELETE", sub: []string{"uploadId"}, handler: (*Server).abortMultipartUpload},
		{op: "ListParts", scope: scopeObject, method: "GET", sub: []string{"uploadId"}, params: []string{"max-parts", "part-number-marker", "encoding-type"}, handler: (*Server).listParts},

		{op: "GetObjectTagging", scope: scopeObject, method: "GET", sub: []string{"tagging"}, action: forward, params: version},
		{op: "PutObjectTagging", scope: scopeObject, method: "PUT", sub: []string{"tagging"}, action: forward, params: version, body: smallBody},
		{op: "DeleteObjectTagging", scope: scopeObject, method: "DELETE", sub: []string{"tagging"}, action: forward, params: version},
		{op: "GetObjectRetention", scope: scopeObject, method: "GET", sub: []string{"retention"}, action: forward, params: version},
		{op: "PutObjectRetention", scope: scopeObject, method: "PUT", sub: []string{"retention"}, action: forward, params: version, body: smallBody, headers: []string{"X-Amz-Bypass-Governance-Retention"}},
		{op: "GetObjectLegalHold", scope: scopeObject, method: "GET", sub: []string{"legal-hold"}, action: forward, params: version},
		{op: "PutObjectLegalHold", scope: scopeObject, method: "PUT", sub: []string{"legal-hold"}, action: forward, params: version, body: smallBody},
		{op: "GetObjectAcl", scope: scopeObject, method: "GET", sub: []string{"acl"}, action: forward, params: version},
		{op: "PutObjectAcl", scope: scopeObject, method: "PUT", sub: []string{"acl"}, action: forward, params: version, body: smallBody, headers: []string{"X-Amz-Acl"}},
		{op: "RestoreObject", scope: scopeObject, method: "POST", sub: []string{"restore"}, action: forward, params: version, body: smallBody},
		{op: "SelectObjectContent", scope: scopeObject, method: "POST", sub: []string{"select", "select-type=2"}, action: refuse, why: "upstream could only search ciphertext"},
		{op: "GetObjectTorrent", scope: scopeObject, method: "GET", sub: []string{"torrent"}, action: refuse, why: "MinIO does not offer it"},
		{op: "GetObjectLambda", scope: scopeObject, method: "GET", sub: []string{"lambdaArn"}, action: refuse, params: version, why: "upstream would hand ciphertext to the function"},
	}
}
