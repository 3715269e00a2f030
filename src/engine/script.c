/* SPDX-License-Identifier: MIT */
/*
 * KEYS[1] is T w, for the slot of a cluster; ARGV[1] is T, from which the other keys are
 * made. For Redis 6.0 and later, and Valkey.
 */
#include "engine/script.h"

#define HEAD                                                                             \
	"local call,try,T=redis.call,redis.pcall,ARGV[1] local time=call('TIME') "       \
	"local now=time[1]*1000+math.floor(time[2]/1000) "                               \
	"local w,i,m=T..'w',T..'i',T..'m' "

/* The lease in milliseconds, if what is there can be one: others may have written it. */
#define LEASE                                                                            \
	"local function agreed() local l=tonumber(call('HGET',m,'lease')) "              \
	"return l and l>=100 and l<=600000 and l end "

/* Takes a caller's chunk out of its stream, and tells the caller. */
#define TELL                                                                             \
	"local function tell(q,id,mark,by,ttl) "                                         \
	"if try('XACK',q,'g',id)~=1 then return 0 end "                                  \
	"local entry=try('XRANGE',q,id,id)[1] try('XDEL',q,id) "                         \
	"local f=entry and entry[2] "                                                    \
	"if not f or f[1]~='c' or f[3]~='s' then return 0 end "                          \
	"if try('HDEL',T..'o:'..f[2],f[4])~=1 then return 0 end "                        \
	"local r=T..'r:'..f[2] try('DEL',T..'b:'..f[2]..':'..f[4]) "                     \
	"try('XADD',r,'*','s',f[4],mark,by) "                                            \
	"if try('PTTL',r)==-1 then try('PEXPIRE',r,ttl) end return 1 end "

/* All that a host holds which is none; some of it, if that is much. */
#define SWEEP                                                                            \
	TELL "local function sweep(q,host,ttl) local n=0 "                               \
	     "local list=try('XPENDING',q,'g','-','+',100,host) "                        \
	     "for _,e in ipairs(list) do n=n+tell(q,e[1],'l',host,ttl) end "             \
	     "if #list<100 then try('XGROUP','DELCONSUMER',q,'g',host) end "             \
	     "return n end "

#define BURY                                                                             \
	"local function bury(caller) local o=T..'o:'..caller "                           \
	"local seqs=try('HKEYS',o) if not seqs.err then "                                \
	"for _,s in ipairs(seqs) do try('DEL',T..'b:'..caller..':'..s) end end "         \
	"call('ZREM',T..'c',caller) return call('DEL',o,T..'r:'..caller) end "

#define LIST_HOSTS                                                                       \
	"local function hosts() local out={} "                                           \
	"local list=call('ZRANGE',w,0,-1,'WITHSCORES') for k=1,#list,2 do "              \
	"out[#out+1]=list[k] out[#out+1]=math.floor(now-tonumber(list[k+1])) "           \
	"out[#out+1]=call('HGET',i,list[k]) or '' end return out end "

const char *const engine_scripts[SCRIPTS] = {
	/* T H info lease layout ttl old n task.. (task sid).. */
	[SCRIPT_JOIN] = HEAD LEASE
	"call('HSETNX',m,'layout',ARGV[5]) local layout=call('HGET',m,'layout') "
	"if layout~=ARGV[5] then return tonumber(layout) or 0 end "
	"local lease,host,ttl,old=agreed(),ARGV[2],ARGV[6],ARGV[7] "
	"if not lease then lease=tonumber(ARGV[4]) call('HSET',m,'lease',lease) end "
	"call('PEXPIRE',m,ttl) local out={lease} "
	"local last=8+tonumber(ARGV[8]) for k=9,last do local q=T..'q:'..ARGV[k] "
	"try('XGROUP','CREATE',q,'g','0','MKSTREAM') call('PEXPIRE',q,ttl) end "
	"if old~='' then call('ZREM',w,old) call('HDEL',i,old) end "
	"call('ZADD',w,now,host) call('HSET',i,host,ARGV[3]) "
	"call('PEXPIRE',w,ttl) call('PEXPIRE',i,ttl) "
	"for k=last+1,#ARGV,2 do local q,id,ok=T..'q:'..ARGV[k],ARGV[k+1],0 "
	"local p=try('XPENDING',q,'g',id,id,1) if p[1] and p[1][2]==old then "
	"p=try('XCLAIM',q,'g',host,0,id,'JUSTID') if p[1] then ok=1 end end "
	"out[#out+1]=ok end return out",

	/* T H info lease layout ttl most task.. */
	[SCRIPT_BEAT] = HEAD SWEEP BURY
	"local host,lease,ttl=ARGV[2],tonumber(ARGV[4]),ARGV[6] "
	"if not call('ZSCORE',w,host) then return {0,0,0} end "
	"for k=8,#ARGV do if call('PEXPIRE',T..'q:'..ARGV[k],ttl)==0 then "
	"return {0,0,0} end end "
	"call('ZADD',w,now,host) call('HSET',i,host,ARGV[3]) "
	"call('HSETNX',m,'layout',ARGV[5]) call('HSETNX',m,'lease',ARGV[4]) "
	"for _,k in ipairs({'w','i','m','c','x'}) do call('PEXPIRE',T..k,ttl) end "
	"if not call('SET',T..'s','','NX','PX',math.floor(lease/4)+1) then "
	"return {1,0,0} end "
	"for _,h in ipairs(call('ZRANGEBYSCORE',w,'-inf',now-lease,'LIMIT',0,16)) do "
	"call('ZREM',w,h) call('HDEL',i,h) end local lost,buried=0,0 "
	"for k=8,#ARGV do local q=T..'q:'..ARGV[k] "
	"local list=try('XINFO','CONSUMERS',q,'g') if list.err then return {0,0,0} end "
	"for _,x in ipairs(list) do if not call('ZSCORE',w,x[2]) then "
	"lost=lost+sweep(q,x[2],ttl) end end end "
	"for _,c in ipairs(call('ZRANGEBYSCORE',T..'c','-inf',now-tonumber(ARGV[7]),"
	"'LIMIT',0,16)) do bury(c) buried=buried+1 end return {1,lost,buried}",

	/* T H ttl (task sid caller seq header out blobs)..; of outputs 1, inputs 2 */
	[SCRIPT_DONE] =
		"local call,try,T=redis.call,redis.pcall,ARGV[1] "
		"if not call('ZSCORE',KEYS[1],ARGV[2]) then return -1 end local "
		"n,seen=0,{} "
		"for k=4,#ARGV,7 do local q,id,c,s=T..'q:'..ARGV[k],ARGV[k+1],ARGV[k+2],"
		"ARGV[k+3] local at,ok,r=c..':'..s,false,T..'r:'..c "
		"local large=ARGV[k+6]=='1' or ARGV[k+6]=='3' "
		"if try('XACK',q,'g',id)==1 then try('XDEL',q,id) "
		"if ARGV[k+6]>='2' then try('DEL',T..'b:'..at) end "
		"if try('HDEL',T..'o:'..c,s)==1 then ok=true n=n+1 "
		"try('XADD',r,'*','s',s,'h',ARGV[k+4],large and 'b' or 'a',ARGV[k+5]) "
		"if not seen[r] and try('PTTL',r)==-1 then try('PEXPIRE',r,ARGV[3]) end "
		"seen[r]=1 end end if large and not ok then try('DEL',T..'B:'..at) end "
		"end return n",

	/* T H ttl mark (task sid).. */
	[SCRIPT_GIVE] = HEAD TELL
	"local n=0 for k=5,#ARGV,2 do "
	"n=n+tell(T..'q:'..ARGV[k],ARGV[k+1],ARGV[4],ARGV[2],ARGV[3]) end return n",

	/* T H ttl task.. */
	[SCRIPT_LEAVE] = HEAD SWEEP
	"call('HDEL',i,ARGV[2]) local n=call('ZREM',w,ARGV[2]) "
	"for k=4,#ARGV do sweep(T..'q:'..ARGV[k],ARGV[2],ARGV[3]) end return n",

	/* T C ttl (task sid seq blob).. */
	[SCRIPT_CALL] = HEAD LEASE LIST_HOSTS
	"local c,ttl=ARGV[2],ARGV[3] local o,r,new=T..'o:'..c,T..'r:'..c,0 "
	"if not call('ZSCORE',T..'c',c) then new=1 end call('ZADD',T..'c',now,c) "
	"call('PEXPIRE',T..'c',ttl) call('PEXPIRE',o,ttl) call('PEXPIRE',r,ttl) "
	"local gone={} for k=4,#ARGV,4 do local q,id,s=T..'q:'..ARGV[k],ARGV[k+1],"
	"ARGV[k+2] call('PEXPIRE',q,ttl) "
	"if try('HEXISTS',o,s)~=1 then gone[#gone+1]=s "
	"elseif id~='' and not try('XRANGE',q,id,id)[1] then "
	"try('HDEL',o,s) gone[#gone+1]=s "
	"elseif ARGV[k+3]=='1' then try('PEXPIRE',T..'b:'..c..':'..s,ttl) end end "
	"local last=try('XREVRANGE',r,'+','-','COUNT',1)[1] "
	"local out=try('HLEN',o) if type(out)~='number' then out=0 end "
	"return {out,new,last and last[1] or '0-0',gone,hosts(),"
	"agreed() or 0}",

	/* T C (task sid seq).. */
	[SCRIPT_TAKE_BACK] = HEAD
	"local out={} for k=3,#ARGV,3 do local q,id,s=T..'q:'..ARGV[k],ARGV[k+1],"
	"ARGV[k+2] if not try('XPENDING',q,'g',id,id,1)[1] and try('XDEL',q,id)==1 "
	"then try('HDEL',T..'o:'..ARGV[2],s) "
	"try('DEL',T..'b:'..ARGV[2]..':'..s) out[#out+1]=s end end return out",

	/* T C */
	[SCRIPT_BURY] = HEAD BURY "return bury(ARGV[2])",

	/* T */
	[SCRIPT_HOSTS] = HEAD LIST_HOSTS "return hosts()",
};
