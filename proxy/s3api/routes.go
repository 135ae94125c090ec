package s3api

import (
	"net/http"
	"slices"

	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/route"
)

// row is one operation of S3, served by a handler, and table all of them.
type (
	handler = func(*API, http.ResponseWriter, *intake.Request) error
	row     = route.Row[handler]
	table   = route.Table[handler]
)

const (
	smallBody  = 64 << 10 // a short XML document
	policyBody = 1 << 20  // a policy, a lifecycle configuration
	deleteBody = 4 << 20  // 1,000 keys of 1,024 bytes and their tags
)

// Routes is the whole S3 surface. What is not in it is refused; MinIO itself
// takes unknown sub-resources for plain requests. docs/compatibility.md is
// checked against it. The Security Token Service has a table of its own (package sts).
func Routes() []route.Row[func(*API, http.ResponseWriter, *intake.Request) error] {
	return slices.Concat(serviceRoutes(), bucketRoutes(), objectRoutes())
}

func newTable(rows []row) (*table, error) {
	return route.NewTable(rows, func(r *row) bool { return r.Handler != nil }, otherParameters...)
}

func serviceRoutes() []row {
	return []row{
		{Op: "ListBuckets", Scope: route.Service, Method: "GET", Handler: (*API).listBuckets, Params: []string{"max-buckets", "prefix", "continuation-token", "bucket-region"}},
		{Op: "ListenNotification", Scope: route.Service, Method: "GET", Sub: []string{"events"}, Action: route.Refuse, Params: []string{"prefix", "suffix", "ping"}, Why: "events show what lies upstream, not what clients wrote"},
	}
}

func bucketRoutes() []row {
	listV1 := []string{"prefix", "delimiter", "marker", "max-keys", "encoding-type", "start-after", "fetch-owner"}
	listV2 := []string{"prefix", "delimiter", "start-after", "continuation-token", "max-keys", "encoding-type", "fetch-owner", "metadata", "marker"}
	return []row{
		{Op: "ListObjects", Scope: route.Bucket, Method: "GET", Params: listV1, Handler: (*API).listObjectsV1},
		{Op: "ListObjectsV2", Scope: route.Bucket, Method: "GET", Sub: []string{"list-type=2"}, Params: listV2, Handler: (*API).listObjectsV2},
		{Op: "ListObjectVersions", Scope: route.Bucket, Method: "GET", Sub: []string{"versions"}, Handler: (*API).listObjectVersions, Params: []string{"prefix", "delimiter", "key-marker", "version-id-marker", "max-keys", "encoding-type", "metadata"}},
		{Op: "ListMultipartUploads", Scope: route.Bucket, Method: "GET", Sub: []string{"uploads"}, Handler: (*API).listMultipartUploads, Params: []string{"prefix", "delimiter", "key-marker", "upload-id-marker", "max-uploads", "encoding-type"}},

		{Op: "CreateBucket", Scope: route.Bucket, Method: "PUT", Action: route.Forward, Body: smallBody, Headers: []string{"X-Amz-Bucket-Object-Lock-Enabled", "X-Amz-Acl"}},
		{Op: "HeadBucket", Scope: route.Bucket, Method: "HEAD", Action: route.Forward},
		{Op: "DeleteBucket", Scope: route.Bucket, Method: "DELETE", Handler: (*API).deleteBucket},
		{Op: "DeleteObjects", Scope: route.Bucket, Method: "POST", Sub: []string{"delete"}, Handler: deleteObjects, Frees: true, Body: deleteBody, Headers: []string{"X-Amz-Bypass-Governance-Retention", "X-Amz-Mfa"}},
		{Op: "PostObject", Scope: route.Bucket, Method: "POST", Handler: (*API).postObject, Unplaced: true},

		{Op: "GetBucketEncryption", Scope: route.Bucket, Method: "GET", Sub: []string{"encryption"}, Handler: (*API).getBucketEncryption},
		{Op: "PutBucketEncryption", Scope: route.Bucket, Method: "PUT", Sub: []string{"encryption"}, Body: smallBody, Handler: (*API).putBucketEncryption},
		{Op: "DeleteBucketEncryption", Scope: route.Bucket, Method: "DELETE", Sub: []string{"encryption"}, Handler: (*API).deleteBucketEncryption},

		{Op: "GetBucketLocation", Scope: route.Bucket, Method: "GET", Sub: []string{"location"}, Action: route.Forward},
		{Op: "GetBucketVersioning", Scope: route.Bucket, Method: "GET", Sub: []string{"versioning"}, Action: route.Forward},
		{Op: "PutBucketVersioning", Scope: route.Bucket, Method: "PUT", Sub: []string{"versioning"}, Action: route.Forward, Body: smallBody, Headers: []string{"X-Amz-Mfa"}},
		{Op: "GetBucketPolicy", Scope: route.Bucket, Method: "GET", Sub: []string{"policy"}, Action: route.Forward},
		{Op: "PutBucketPolicy", Scope: route.Bucket, Method: "PUT", Sub: []string{"policy"}, Handler: (*API).putBucketPolicy, Body: policyBody, Headers: []string{"X-Amz-Confirm-Remove-Self-Bucket-Access"}},
		{Op: "DeleteBucketPolicy", Scope: route.Bucket, Method: "DELETE", Sub: []string{"policy"}, Handler: (*API).deleteBucketPolicy},
		{Op: "GetBucketPolicyStatus", Scope: route.Bucket, Method: "GET", Sub: []string{"policyStatus"}, Action: route.Forward},
		{Op: "GetBucketLifecycle", Scope: route.Bucket, Method: "GET", Sub: []string{"lifecycle"}, Action: route.Forward, Params: []string{"withUpdatedAt"}},
		{Op: "PutBucketLifecycle", Scope: route.Bucket, Method: "PUT", Sub: []string{"lifecycle"}, Action: route.Forward, Body: policyBody},
		{Op: "DeleteBucketLifecycle", Scope: route.Bucket, Method: "DELETE", Sub: []string{"lifecycle"}, Action: route.Forward},
		{Op: "GetObjectLockConfiguration", Scope: route.Bucket, Method: "GET", Sub: []string{"object-lock"}, Action: route.Forward},
		{Op: "PutObjectLockConfiguration", Scope: route.Bucket, Method: "PUT", Sub: []string{"object-lock"}, Action: route.Forward, Body: smallBody, Headers: []string{"X-Amz-Bucket-Object-Lock-Token"}},
		{Op: "GetBucketTagging", Scope: route.Bucket, Method: "GET", Sub: []string{"tagging"}, Action: route.Forward},
		{Op: "PutBucketTagging", Scope: route.Bucket, Method: "PUT", Sub: []string{"tagging"}, Action: route.Forward, Body: smallBody},
		{Op: "DeleteBucketTagging", Scope: route.Bucket, Method: "DELETE", Sub: []string{"tagging"}, Action: route.Forward},
		{Op: "GetBucketNotification", Scope: route.Bucket, Method: "GET", Sub: []string{"notification"}, Action: route.Forward},
		{Op: "PutBucketNotification", Scope: route.Bucket, Method: "PUT", Sub: []string{"notification"}, Action: route.Forward, Body: policyBody},
		{Op: "ListenBucketNotification", Scope: route.Bucket, Method: "GET", Sub: []string{"events"}, Action: route.Refuse, Params: []string{"prefix", "suffix", "ping"}, Why: "events show what lies upstream, not what clients wrote"},
		{Op: "GetBucketReplication", Scope: route.Bucket, Method: "GET", Sub: []string{"replication"}, Action: route.Forward},
		{Op: "PutBucketReplication", Scope: route.Bucket, Method: "PUT", Sub: []string{"replication"}, Action: route.Refuse, Why: "replication would copy ciphertext past the proxy"},
		{Op: "DeleteBucketReplication", Scope: route.Bucket, Method: "DELETE", Sub: []string{"replication"}, Action: route.Forward},
		{Op: "GetBucketAcl", Scope: route.Bucket, Method: "GET", Sub: []string{"acl"}, Action: route.Forward},
		{Op: "PutBucketAcl", Scope: route.Bucket, Method: "PUT", Sub: []string{"acl"}, Action: route.Forward, Body: smallBody, Headers: []string{"X-Amz-Acl"}},
		{Op: "GetBucketCors", Scope: route.Bucket, Method: "GET", Sub: []string{"cors"}, Action: route.Forward},
		{Op: "PutBucketCors", Scope: route.Bucket, Method: "PUT", Sub: []string{"cors"}, Action: route.Forward, Body: smallBody},
		{Op: "DeleteBucketCors", Scope: route.Bucket, Method: "DELETE", Sub: []string{"cors"}, Action: route.Forward},
		{Op: "GetBucketWebsite", Scope: route.Bucket, Method: "GET", Sub: []string{"website"}, Action: route.Forward},
		{Op: "DeleteBucketWebsite", Scope: route.Bucket, Method: "DELETE", Sub: []string{"website"}, Action: route.Forward},
		{Op: "GetBucketAccelerate", Scope: route.Bucket, Method: "GET", Sub: []string{"accelerate"}, Action: route.Forward},
		{Op: "GetBucketRequestPayment", Scope: route.Bucket, Method: "GET", Sub: []string{"requestPayment"}, Action: route.Forward},
		{Op: "GetBucketLogging", Scope: route.Bucket, Method: "GET", Sub: []string{"logging"}, Action: route.Forward},
	}
}

func objectRoutes() []row {
	read := []string{
		"versionId", "partNumber", "response-content-type", "response-content-language", "response-expires",
		"response-cache-control", "response-content-disposition", "response-content-encoding",
	}
	version := []string{"versionId"}
	return []row{
		{Op: "GetObject", Scope: route.Object, Method: "GET", Params: read, Handler: (*API).getObject},
		{Op: "HeadObject", Scope: route.Object, Method: "HEAD", Params: read, Handler: (*API).getObject},
		{Op: "PutObject", Scope: route.Object, Method: "PUT", Handler: (*API).putObject},
		{Op: "DeleteObject", Scope: route.Object, Method: "DELETE", Handler: (*API).deleteObject, Frees: true, Params: version, Headers: []string{"X-Amz-Bypass-Governance-Retention", "X-Amz-Mfa"}},
		{Op: "CopyObject", Scope: route.Object, Method: "PUT", Header: "X-Amz-Copy-Source", Handler: (*API).copyObject},
		{Op: "GetObjectAttributes", Scope: route.Object, Method: "GET", Sub: []string{"attributes"}, Params: version, Handler: (*API).getObjectAttributes},

		{Op: "UpdateObjectEncryption", Scope: route.Object, Method: "PUT", Sub: []string{"encryption"}, Handler: updateObjectEncryption, Params: version, Body: smallBody},

		{Op: "CreateMultipartUpload", Scope: route.Object, Method: "POST", Sub: []string{"uploads"}, Handler: (*API).createMultipartUpload},
		{Op: "UploadPart", Scope: route.Object, Method: "PUT", Sub: []string{"uploadId", "partNumber"}, Handler: (*API).uploadPart},
		{Op: "UploadPartCopy", Scope: route.Object, Method: "PUT", Sub: []string{"uploadId", "partNumber"}, Header: "X-Amz-Copy-Source", Handler: (*API).uploadPartCopy},
		{Op: "CompleteMultipartUpload", Scope: route.Object, Method: "POST", Sub: []string{"uploadId"}, Body: maxCompleteBody, Handler: (*API).completeMultipartUpload},
		{Op: "AbortMultipartUpload", Scope: route.Object, Method: "DELETE", Sub: []string{"uploadId"}, Handler: (*API).abortMultipartUpload, Frees: true},
		{Op: "ListParts", Scope: route.Object, Method: "GET", Sub: []string{"uploadId"}, Params: []string{"max-parts", "part-number-marker", "encoding-type"}, Handler: (*API).listParts},

		{Op: "GetObjectTagging", Scope: route.Object, Method: "GET", Sub: []string{"tagging"}, Action: route.Forward, Params: version},
		{Op: "PutObjectTagging", Scope: route.Object, Method: "PUT", Sub: []string{"tagging"}, Action: route.Forward, Params: version, Body: smallBody},
		{Op: "DeleteObjectTagging", Scope: route.Object, Method: "DELETE", Sub: []string{"tagging"}, Action: route.Forward, Params: version},
		{Op: "GetObjectRetention", Scope: route.Object, Method: "GET", Sub: []string{"retention"}, Action: route.Forward, Params: version},
		{Op: "PutObjectRetention", Scope: route.Object, Method: "PUT", Sub: []string{"retention"}, Action: route.Forward, Params: version, Body: smallBody, Headers: []string{"X-Amz-Bypass-Governance-Retention"}},
		{Op: "GetObjectLegalHold", Scope: route.Object, Method: "GET", Sub: []string{"legal-hold"}, Action: route.Forward, Params: version},
		{Op: "PutObjectLegalHold", Scope: route.Object, Method: "PUT", Sub: []string{"legal-hold"}, Action: route.Forward, Params: version, Body: smallBody},
		{Op: "GetObjectAcl", Scope: route.Object, Method: "GET", Sub: []string{"acl"}, Action: route.Forward, Params: version},
		{Op: "PutObjectAcl", Scope: route.Object, Method: "PUT", Sub: []string{"acl"}, Action: route.Forward, Params: version, Body: smallBody, Headers: []string{"X-Amz-Acl"}},
		{Op: "RestoreObject", Scope: route.Object, Method: "POST", Sub: []string{"restore"}, Action: route.Forward, Params: version, Body: smallBody},
		{Op: "SelectObjectContent", Scope: route.Object, Method: "POST", Sub: []string{"select", "select-type=2"}, Action: route.Refuse, Why: "upstream could only search ciphertext"},
		{Op: "GetObjectTorrent", Scope: route.Object, Method: "GET", Sub: []string{"torrent"}, Action: route.Refuse, Why: "MinIO does not offer it"},
		{Op: "GetObjectLambda", Scope: route.Object, Method: "GET", Sub: []string{"lambdaArn"}, Action: route.Refuse, Params: version, Why: "upstream would hand ciphertext to the function"},
	}
}
