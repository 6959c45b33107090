package istio

// throughClusterIP has requests for shop go to its ClusterIP instead of its endpoints.
const throughClusterIP = `
kind: ServiceEntry
metadata: {name: shop, namespace: edge}
spec:
  hosts: [shop.linkerd]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{number: 8000, name: http, protocol: HTTP}]
  endpoints: [{address: shop.app.svc.cluster.local, ports: {http: 80}}]
---
kind: VirtualService
metadata: {name: shop, namespace: edge}
spec:
  hosts: [shop.app.svc.cluster.local]
  http:
    - {match: [{uri: {prefix: /fresh}}], route: [{destination: {host: shop.linkerd, subset: fresh}}]}
    - {route: [{destination: {host: shop.linkerd}}]}
---
kind: DestinationRule
metadata: {name: shop, namespace: edge}
spec:
  host: shop.linkerd
  subsets: [{name: fresh, trafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: 1}}}}]
`

// linkerdTLS is what the gateway needs to speak to Linkerd's proxies itself.
func linkerdTLS(sni, san string) string {
	return "kind: DestinationRule\nmetadata: {name: shop, namespace: edge}\nspec:\n  host: shop.app.svc.cluster.local\n" +
		"  workloadSelector: {matchLabels: {app: gw}}\n" +
		"  trafficPolicy: {tls: {mode: ISTIO_MUTUAL, sni: " + sni + ", subjectAltNames: [" + san + "]}}\n"
}
