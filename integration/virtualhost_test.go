package integration

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
)

// at returns a request whose bucket stands in its host.
func at(host, method, path, query string, body []byte) request {
	return request{method: method, path: path, query: query, body: body, header: map[string]string{"Host": host}}
}

func TestBucketsInHostsAsAMinIOTakesThem(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	bucket := x.bucket()
	host := bucket + "." + pairDomain
	data := []byte("in a virtual host")

	x.do("host: put", at(host, http.MethodPut, "/folder/a%20b", "", data)).ok()
	x.do("host: get", at(host, http.MethodGet, "/folder/a%20b", "", nil)).ok().seal.wantBody(t, data)
	x.do("host: get with a port", at(host+":9000", http.MethodGet, "/folder/a%20b", "", nil)).ok().seal.wantBody(t, data)
	x.do("host: by path", at(pairDomain, http.MethodGet, "/"+bucket+"/folder/a%20b", "", nil)).ok().seal.wantBody(t, data)
	x.do("host: list", at(host, http.MethodGet, "/", "list-type=2", nil)).ok()
	x.do("host: head bucket", at(host, http.MethodHead, "/", "", nil)).ok()
	x.do("host: location", at(host, http.MethodGet, "/", "location=", nil)).ok()
	x.do("host: a key below minio", at(host, http.MethodGet, "/minio/x", "", nil)).status(404, "NoSuchKey")
	x.do("host: the bucket in the path too", at(host, http.MethodGet, "/"+bucket+"/folder/a%20b", "", nil)).status(404, "NoSuchKey")
	x.do("host: no such bucket", at("none-"+host, http.MethodGet, "/k", "", nil)).status(404, "NoSuchBucket")
	x.do("host: no bucket", at("."+pairDomain, http.MethodGet, "/k", "", nil)).status(400, "")
	x.do("host: short bucket", at("x."+pairDomain, http.MethodGet, "/k", "", nil)).status(400, "InvalidBucketName")
	x.do("host: capitals", at(strings.ToUpper(host), http.MethodGet, "/folder/a%20b", "", nil)).seal.wantBody(t, data)
	x.do("host: last dot", at(host+".", http.MethodGet, "/folder/a%20b", "", nil)).seal.wantBody(t, data)
	x.do("host: delete", at(host, http.MethodDelete, "/folder/a%20b", "", nil)).ok()
	x.send(at(pairDomain, http.MethodGet, "/", "prefix="+bucket, nil)).ok()

	dotted := "dots.in." + bucket
	x.do("host: create a bucket with dots", at(dotted+"."+pairDomain, http.MethodPut, "/", "", nil)).ok()
	x.do("host: put into a bucket with dots", at(dotted+"."+pairDomain, http.MethodPut, "/k", "", data)).ok()
	x.do("host: get by path", request{method: http.MethodGet, bucket: dotted, key: "k"}).ok()
}

// Paths that mean something without a bucket in the host are keys with one.
func TestEveryPathIsAKeyOfTheBucketInTheHost(t *testing.T) {
	t.Parallel()
	x := newExchange(t)
	seal, host := x.side[0], x.bucket()+"."+pairDomain
	for _, key := range []string{
		"minio/health/live", "minio/health/ready", "minio/health/cluster", "minio/health/cluster/read", "minio/admin/v3/info", "minio/kms/v1/status",
		"minio/metrics/v3", "minio/v2/metrics/cluster", "minio/prometheus/metrics", "minio",
	} {
		data := []byte("the object " + key)
		seal.do(t, at(host, http.MethodGet, "/"+key, "", nil)).wantStatus(t, http.StatusNotFound)
		seal.do(t, at(host, http.MethodPut, "/"+key, "", data)).wantStatus(t, http.StatusOK)
		seal.do(t, at(host, http.MethodGet, "/"+key, "", nil)).wantStatus(t, http.StatusOK).wantBody(t, data)
		if a := seal.do(t, at(host, http.MethodHead, "/"+key, "", nil)).wantStatus(t, http.StatusOK); a.header.Get("Etag") != md5ETag(data) {
			t.Errorf("HEAD %s: ETag %s", key, a.header.Get("Etag"))
		}
		seal.anonymous().do(t, at(host, http.MethodGet, "/"+key, "", nil)).wantStatus(t, http.StatusForbidden)
		seal.do(t, at(host, http.MethodDelete, "/"+key, "", nil)).wantStatus(t, http.StatusNoContent)
	}
	seal.anonymous().do(t, at(pairDomain, http.MethodGet, "/minio/health/live", "", nil)).wantStatus(t, http.StatusOK)
}

// No spelling of a host reaches the system bucket.
func TestNoHostReachesTheSystemBucket(t *testing.T) {
	t.Parallel()
	seal := sharedPair(t).seal
	for _, name := range []string{"bucketseal-system", "BUCKETSEAL-system", "%62ucketseal-system", "bucketseal%2dsystem"} {
		for _, domain := range []string{pairDomain, pairDomain + ".", strings.ToUpper(pairDomain), pairDomain + ":443"} {
			for _, path := range []string{"/", "/rules", "/%2e%2e/rules", "//rules"} {
				a, err := seal.try(at(name+"."+domain, http.MethodGet, path, "", nil))
				if err == nil && a.status < 400 {
					t.Errorf("%s.%s%s: %d, %.200s", name, domain, path, a.status, a.body)
				}
				if bytes.Contains(a.body, []byte("<Contents>")) {
					t.Errorf("%s.%s%s lists", name, domain, path)
				}
			}
		}
	}
}
