package server

import "net/http"

// doubtful says whether a TLS proxy in front might see another end of r's body than net/http
// does, which drops a length beside a coding, and a coding in HTTP/1.0, before anybody can see
// them. RFC 9112, 6.1, wants the connection ended after such a request: what follows could be
// a second one that the proxy took for the body of the first.
func doubtful(r *http.Request) bool {
	if r.ProtoMajor != 1 {
		return false
	}
	bodiless := r.ContentLength == 0 && (r.Method == http.MethodGet || r.Method == http.MethodHead)
	return len(r.TransferEncoding) > 0 || r.ProtoMinor == 0 && !bodiless
}
