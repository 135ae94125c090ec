package integration

import (
	"regexp"
	"strings"
	"sync"
)

// difference is a field of an answer in which the proxy deliberately differs from
// a MinIO with a KMS.
type difference struct {
	// label and field say where; * stands for any run of characters.
	label, field string
	reason       string
}

// differences is the whole list. docs/compatibility.md says the same in prose.
func differences() []difference {
	const (
		awsHeaders    = "AWS says how the object was encrypted in the answer to a copy; MinIO does not"
		awsDelete     = "AWS's conditional delete; MinIO ignores the condition"
		awsCopyTarget = "AWS judges conditions on a copy's destination; MinIO ignores them"
		rfc           = "RFC 9110, section 13: lists, weak comparison, If-Range, and If-None-Match before If-Modified-Since, as at AWS"
		details       = "details in error documents that clients do not read"
		stricter      = "a context that is not one object of strings without repeated and reserved names cannot be bound exactly"
		everyWrite    = "as at AWS, every write whose client asks for no checksum gets a CRC64NVME; MinIO gives one to copies only"
		wrongMinIO    = "MinIO stores a damaged object: with a context, KMS metadata stay on the copy that is not encrypted"
		whichFirst    = "a request wrong in two ways: which one is named"
		explicit      = "a copy onto itself must say what changes, as at AWS; MinIO takes the missing header for: store it unencrypted"
		freshKey      = "a copy of an SSE-C object onto itself is new ciphertext under a new object key; MinIO only seals its object key anew"
		writeOnly     = "a refused write says nothing of the object there: the caller may be one who cannot read it"
		marker        = "a delete marker has neither data nor class, as at AWS"
		noKeyNoWord   = "who does not have the customer key learns nothing but that"
	)
	return append(multipartDifferences(), []difference{
		{"*", "header Accept-Ranges without an object", "MinIO sends it with every answer; as at AWS, it is said of objects"},
		{"*", "header X-Amz-Checksum-* by default", everyWrite},
		{"*", "body */Checksum* by default", everyWrite},
		{"*", "body /Error/RangeRequested", details},
		{"*", "body /Error/ActualObjectSize", details},
		{"*attribute*", "body /Error/Argument*", details},
		{"host: short bucket", "body /Error/*", details},
		{"host: no bucket", "*", "a name that is empty is a bucket's bad name"},
		{"host: capitals", "*", "a host's case says nothing (RFC 9110, section 4.2.3); at MinIO it does"},
		{"host: last dot", "*", "a host with its last dot is the same host"},
		{"forwarded object put acl= no XML", "body /Error/Key", details},
		{"*copy*", "body /Error/Key", "MinIO names the source of a copy, the proxy what the request's address names"},
		{"*copy*", "body /Error/BucketName", "as above"},
		{"*", "body root", "AWS's name of the document, GetObjectAttributesResponse; MinIO writes the first letter small"},

		{"context not JSON", "message", "MinIO's message is its JSON library's; ours says that it ought to be an object of strings"},
		{"context of numbers", "message", "as above"},
		{"put: kms context *", "message", "as above"},
		{"put: kms empty context", "message", "as above"},
		{"put: kms context null", "*", stricter},
		{"put: kms context repeated", "*", stricter},
		{"put: kms context reserved", "*", stricter},
		{"*: kms context in disorder", "header X-Amz-Server-Side-Encryption-Context", "the context is answered as it was sent; MinIO answers its own form of it"},
		{"*: kms bucket key", "header X-Amz-Server-Side-Encryption-Bucket-Key-Enabled", "AWS answers it"},
		{"put: kms odd bucket key", "*", "a value that is neither true nor false is refused, as at AWS"},
		{"*: kms full arn", "*", "the last part of a whole ARN is the key's name: what other S3 servers were configured with works"},
		{"put: kms bad key id", "*", "a name that no key can have is the client's mistake, not a missing key"},
		{"put: kms key id with spaces", "*", "as above"},
		{"shorter than declared", "*", "MinIO answers 500 InternalError for some lengths; a body cut short is always the client's fault"},
		{"part x", "*", "MinIO answers 500 InternalError"},
		{"part 0", "*", "MinIO answers a code of its admin API"},
		{"head dir*", "header Etag", "MinIO shows the ETag it has sealed"},
		{"read *: short key", "*", "AWS: 400 InvalidArgument for a key that can be nobody's; MinIO: 403"},
		{"read *: key not base64", "*", "as above"},
		{"attributes *: short key", "*", "as above"},
		{"attributes *: key not base64", "*", "as above"},
		{"attributes c: other key", "*", noKeyNoWord + "; MinIO answers 200"},
		{"attributes c: range, other key", "*", noKeyNoWord},
		{"* c: condition, other key", "*", noKeyNoWord},

		{"form*", "body /Error/Key", details},
		{"form to an object", "body /Error/BucketName", details},
		{"form * fails", "message", "the condition that failed is named, as at AWS; MinIO names only those on checksums"},
		{"form no date", "*", "a signed form must say how and when it was signed, as at AWS"},
		{"form no algorithm", "*", "as above"},
		{"form sse-*", "header X-Amz-Server-Side-Encryption*", "as after a PUT: the answer says how the object was encrypted"},
		{"form sse unknown", "*", "MinIO stores the file unencrypted"},
		{"form redirect nowhere", "*", "an address that is none is ignored, as at AWS"},
		{"* form", "header Content-Type", "MinIO guesses a type from the name; as at AWS, the form says it"},
		{"anonymous form, closed", "body /Error/Key", details},
		{"anonymous form, open", "*", "at AWS a form without a policy is an anonymous PUT, and the bucket's policy judges it; MinIO takes none"},

		{"HEAD if *", "header Content-*", "HEAD's 412 has no body to describe"},
		{"read *: condition, no key", "header Content-*", "as above"},
		{"empty *range bytes=-1", "*", "AWS: 416; MinIO answers a Content-Range that no client can read"},
		{"*", "body /ListBucketResult*/Contents/Checksum*", "AWS says it; MinIO does not"},
		{"*", "body /ListVersionsResult*/Version/Checksum*", "as above"},
		{"*head range *", "header *", "HEAD's 416 does not describe the object"},
		{"*if match list", "*", rfc},
		{"*if none-match list fails", "*", rfc},
		{"*if none-match weak", "*", rfc},
		{"*if if-range *", "*", rfc},
		{"*if none-match ok, modified", "*", rfc},
		{"copy if none-match, modified future", "*", rfc},
		{"copy if match, unmodified past", "*", rfc},

		{"*copy*", "header X-Amz-Server-Side-Encryption*", awsHeaders},
		{"*copy*", "body /CopyObjectResult/Checksum*", "AWS's document tells every checksum; MinIO's a CRC64NVME only"},
		{"copy * to none with algorithm*", "header X-Amz-Checksum-*", "what is copied to an object that is not encrypted keeps its checksum, and gets no new one"},
		{"*checksum asked for*", "*Checksum*", "a checksum that is asked for without its value is computed, as AWS says; MinIO does nothing"},
		{"empty *attributes", "body */ObjectSize", "MinIO leaves a size of 0 out"},
		{"*checksum in *, get part", "header X-Amz-Checksum-*", "a part of an object is not its whole, also for SSE-C"},
		{"*none checksum in trailer*", "*Checksum*", "trailing checksums of objects that are not encrypted are verified, not kept"},
		{"odd checksum: unknown header", "*", "AWS refuses a checksum it does not know; MinIO ignores it"},
		{"odd checksum: small letters*", "header X-Amz-Checksum-*", "computed, as asked"},
		{"odd checksum: checksum-algorithm*", "header X-Amz-Checksum-*", "computed, as asked"},
		{"odd checksum: trailer not sent", "*", "a request that announces a trailer and cannot have one is refused as such"},
		{"copy*if destination *", "*", awsCopyTarget},
		{"delete if no match", "*", awsDelete},
		{"delete nothing if *", "*", awsDelete},
		{"list after conditional writes", "*", awsCopyTarget},
		{"*copy kms to none*", "*", wrongMinIO},
		{"list copies", "*/Size", wrongMinIO},
		{"*self-copy of kms*", "*", wrongMinIO},
		{"*self-copy of s3: nothing", "*", explicit},
		{"*self-copy of s3: copy", "*", explicit},
		{"*self-copy of s3: redirect", "*", explicit},
		{"bad copy of *: * source *", "*", whichFirst},
		{"bad copy of *: source *", "*", whichFirst},
		{"bad copy of *: destination c without MD5", "message", "as for a PUT"},
		{"copy source *", "*", "what cannot be a source is refused before anything is looked up"},
		{"attributes of deleted", "header X-Amz-*", "the delete marker is named as in the answer to a GET"},
		{"list versions *", "body */DeleteMarker/ETag", marker},
		{"list versions *", "body */DeleteMarker/Size", marker},
		{"list versions *", "body */DeleteMarker/StorageClass", marker},
		{"limited put if*", "header Etag", writeOnly},
		{"limited put if*", "header Last-Modified", writeOnly},
		{"metadata of 2049", "body /Error/*", details},
		{"*", "body /ListVersionsResult/NextVersionIdMarker", "nothing follows, so nothing is named, as at AWS"},
		{"*copy*", "header X-Amz-Copy-Source-Version-Id", "the version that was copied is named whether or not the request named it, as at AWS"},
		{"lock get after self-copy", "*", "MinIO stores a damaged object: a locked SSE-S3 object copied onto itself is not readable"},
		{"lock self-copy", "*E?ag", freshKey},
		{"put if *", "header Etag", writeOnly},
		{"put if *", "header Last-Modified", writeOnly},
		{"*copy*", "header Expires", "MinIO forgets Expires"},
		{"*self-copy of c: to c*", "*E?ag", freshKey},
		{"self-copy of none: same class", "*", "naming the storage class is enough to copy an object onto itself, as at AWS"},
	}...)
}

// seen holds the entries that a test came upon.
var seen sync.Map

// staleDifferences are entries that no test came upon: the proxy does not, or
// no longer, differ there.
func staleDifferences() []string {
	var stale []string
	for _, d := range differences() {
		if _, ok := seen.Load(d); !ok {
			stale = append(stale, d.label+" | "+d.field)
		}
	}
	return stale
}

// differs says whether a case is on the list, apart from what holds for all.
func differs(label string) bool {
	for _, d := range differences() {
		if d.label != "*" && pattern(d.label).MatchString(label) {
			seen.Store(d, true)
			return true
		}
	}
	return false
}

// differenceFor finds the entry for a field of a step.
func differenceFor(label, field string) (difference, bool) {
	for _, d := range differences() {
		if pattern(d.label).MatchString(label) && pattern(d.field).MatchString(field) {
			seen.Store(d, true)
			return d, true
		}
	}
	return difference{}, false
}

var patterns sync.Map // of *regexp.Regexp, by pattern

func pattern(p string) *regexp.Regexp {
	if re, ok := patterns.Load(p); ok {
		return re.(*regexp.Regexp)
	}
	quoted := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(p))
	re := regexp.MustCompile("(?s)^" + quoted + "$")
	patterns.Store(p, re)
	return re
}
