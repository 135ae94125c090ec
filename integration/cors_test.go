package integration

import (
	"fmt"
	"net/http"
	"testing"
)

func TestOtherOriginsAsAMinIOAnswersThem(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := x.bucket()
	page := "http://page.example"
	x.do("cors: put", request{method: http.MethodPut, bucket: bucket, key: "k", body: []byte("data"), header: map[string]string{"Origin": page}}).ok()
	x.do("cors: get", request{method: http.MethodGet, bucket: bucket, key: "k", header: map[string]string{"Origin": page}}).ok()
	x.do("cors: list", request{method: http.MethodGet, bucket: bucket, query: "list-type=2", header: map[string]string{"Origin": page}}).ok()
	x.do("cors: error", request{method: http.MethodGet, bucket: bucket, key: "none", header: map[string]string{"Origin": page}}).status(404, "NoSuchKey")
	none := x.as("", "")
	none.do("cors: denied", request{method: http.MethodGet, bucket: bucket, key: "k", header: map[string]string{"Origin": page}}).status(403, "AccessDenied")
	none.do("cors: options", request{method: http.MethodOptions, bucket: bucket, key: "k"}).ok()
	none.do("cors: options of an origin", request{method: http.MethodOptions, bucket: bucket, key: "k", header: map[string]string{"Origin": page}}).ok()
	for _, method := range []string{"GET", "PUT", "HEAD", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE", "get", "FOO"} {
		for label, header := range map[string]map[string]string{
			"of an origin": {"Origin": page},
			"of null":      {"Origin": "null"},
			"of nobody":    {},
			"with headers": {"Origin": page, "Access-Control-Request-Headers": "content-type,x-amz-date,x-amz-meta-a"},
		} {
			header["Access-Control-Request-Method"] = method
			none.do(fmt.Sprintf("cors: %s %s", method, label), request{method: http.MethodOptions, bucket: bucket, key: "k", header: header}).ok()
		}
	}
	none.do("cors: preflight of /", request{method: http.MethodOptions, path: "/", header: map[string]string{"Origin": page, "Access-Control-Request-Method": "GET"}}).ok()
}
