package edge

import "net/http"

// doubtful says whether a server in front might see another end of r's body than net/http
// does, so that what follows could be a second request that nobody there knows of. RFC 9112,
// 6.1, wants the connection ended after such a request: one with a length beside its coding,
// or with a coding in HTTP/1.0. net/http drops the length of the first and the coding of the
// second before anybody can see them, and goes on. So here every request with a coding is
// one, and every request of HTTP/1.0 that may have a body.
func doubtful(r *http.Request) bool {
	if r.ProtoMajor != 1 {
		return false
	}
	bodiless := r.ContentLength == 0 && (r.Method == http.MethodGet || r.Method == http.MethodHead)
	return len(r.TransferEncoding) > 0 || r.ProtoMinor == 0 && !bodiless
}

// severalLengths says that r, which came by HTTP/2, has more than one length. There net/http
// takes the first one and leaves the others, which RFC 9113, 8.1.1, calls malformed.
func severalLengths(r *http.Request) bool { return len(r.Header["Content-Length"]) > 1 }
